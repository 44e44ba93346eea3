//! What was verified and what was not, sentence by sentence. A sentence here is a claim of ours:
//! it must follow from what the verifier has checked.
//!
//! I/O: none.

use attestation::tls::Protocol;
use attestation::{EvidenceKind, Proven, TcbStatus};

use super::{CollateralPlace, Finding, Judgement, Occasion, coverage, register_name};
use crate::moment::Moment;

/// What is proven; empty if nothing is.
pub(super) fn verified(judgement: &Judgement, occasion: &Occasion) -> Vec<String> {
    let Some(proven) = judgement.proven() else {
        return Vec::new();
    };
    let root = match proven.verified.roots_are_pinned() {
        true => "Intel",
        false => "the test root given instead of Intel's",
    };
    let time = occasion.time;
    let mut said = vec![
        format!("a genuine TDX platform, certified by {root} and not revoked, as of {time}"),
        "the TD is neither debuggable nor open to others than its owner".to_owned(),
    ];
    said.push(
        match proven.verified.kind() {
            EvidenceKind::AzureTdx => {
                "PCR 0 to 23 (SHA-256) are signed by the vTPM key that the TD quote vouches for"
            }
            EvidenceKind::DcapTdx => "MRTD and RTMR0 to RTMR3 are signed in the TD quote",
        }
        .to_owned(),
    );
    if proven.verified.has_ak_certificate() {
        let root = match proven.verified.roots_are_pinned() {
            true => "Microsoft",
            false => "the test root given instead of Microsoft's",
        };
        said.push(format!("the vTPM key is certified by {root}"));
    }
    if occasion.has_key {
        said.push(binding(occasion).to_owned());
    }
    said
}

fn binding(occasion: &Occasion) -> &'static str {
    match (occasion.protocol, occasion.is_replay) {
        (Protocol::Ratls, false) => "made for this very TLS session and the key in it",
        (Protocol::Ratls, true) => "made for the TLS session that was kept, and the key in it",
        (_, false) => "made for this connection's TLS key and the nonce that was sent to it",
        (_, true) => "made for the TLS key and the nonce that were kept",
    }
}

/// What a reader might think was verified.
pub(super) fn not_verified(judgement: &Judgement, occasion: &Occasion) -> Vec<String> {
    let Some(proven) = judgement.proven() else {
        return vec!["anything: the evidence proves nothing".to_owned()];
    };
    let mut said = Vec::new();
    if let Some(text) = not_compared(judgement, proven) {
        said.push(text);
    }
    if proven.verified.kind() == EvidenceKind::AzureTdx && !proven.verified.has_ak_certificate() {
        said.push(
            "a certificate of the vTPM key: the evidence has none, so the TD quote alone vouches for it"
                .to_owned(),
        );
    }
    said.extend(not_asked(proven, &occasion.collateral));
    if !occasion.has_key {
        said.push("whose TLS key it is about: no certificate was kept".to_owned());
    }
    if occasion.is_replay {
        said.push(
            "who kept the evidence, and when: a nonce is fresh only to whoever chose it".to_owned(),
        );
    }
    said.push(
        "who operates the machine, and how it was configured: no register covers either".to_owned(),
    );
    said
}

/// Since when Intel may have judged anew; `None` if it was asked.
fn not_asked(proven: &Proven, collateral: &CollateralPlace) -> Option<String> {
    let since = match collateral_window(proven) {
        Some((from, _)) => format!(" since {from}"),
        None => String::new(),
    };
    let why = match collateral {
        CollateralPlace::File(place) => {
            format!("its collateral is from {place}, nobody was asked")
        }
        CollateralPlace::Kept { directory, at } => {
            format!("its collateral is from {directory}, fetched at {at}")
        }
        CollateralPlace::Service {
            kept_in: Some(directory),
            ..
        } => format!("its collateral may be what was kept in {directory}"),
        CollateralPlace::Service { kept_in: None, .. } => return None,
    };
    Some(format!("whether Intel has judged anew{since}: {why}"))
}

/// Registers whose values made no difference.
fn not_compared(judgement: &Judgement, proven: &Proven) -> Option<String> {
    let kind = proven.verified.kind();
    let Some(comparison) = judgement.decisive() else {
        return Some("what the machine runs: NOTHING WAS COMPARED".to_owned());
    };
    let is_compared = |index: &u8| comparison.registers.iter().any(|r| r.register == *index);
    let registers = proven.verified.registers().keys();
    let names: Vec<String> = registers
        .filter(|index| !is_compared(index))
        .map(|index| register_name(kind, *index).to_string())
        .collect();
    if names.is_empty() {
        return None;
    }
    let names = match kind {
        EvidenceKind::AzureTdx => names.join(", ").replace(", PCR ", ", "),
        EvidenceKind::DcapTdx => names.join(", "),
    };
    Some(format!("{names}: any value would do"))
}

/// What must not be overlooked.
pub(super) fn warnings(judgement: &Judgement, occasion: &Occasion) -> Vec<String> {
    let mut said = occasion.notes.clone();
    if let Some(proven) = judgement.proven() {
        if !proven.verified.roots_are_pinned() {
            said.push(
                "TEST ROOTS: somebody else than Intel and Microsoft was trusted, who can make any evidence"
                    .to_owned(),
            );
        }
        if proven.verified.tcb().azure_v6_override {
            said.push(
                "OVERRIDE USED: the platform is taken for up to date only because of --override-azurev6-tcbinfo"
                    .to_owned(),
            );
        }
    }
    if let Some(tcb) = judgement.tcb()
        && tcb.is_accepted
        && tcb.report.status != TcbStatus::UpToDate
    {
        let status = tcb.report.status;
        said.push(format!(
            "TCB NOT UP TO DATE: {status} was accepted because --accept-tcb-status says so"
        ));
    }
    if let Finding::Uncompared { .. } = judgement.finding {
        said.push("NOTHING WAS COMPARED: the machine may run anything".to_owned());
    }
    if let Some(proven) = judgement.proven()
        && let Some(image) = judgement.decisive()
    {
        said.extend(coverage::gaps(proven, image));
    }
    said
}

/// Until when Intel's statements count.
pub(super) fn collateral_window(proven: &Proven) -> Option<(Moment, Moment)> {
    let window = proven.collateral.window().ok()?;
    Some((Moment(window.from), Moment(window.until)))
}
