//! Real evidence, read from the shared vectors beside the project.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads its vectors and stops at the first surprise; not every test uses all"
)]

use std::collections::BTreeMap;
use std::path::Path;

use attestation::evidence::DcapTdx;
use attestation::{Binding, Collateral, Evidence, EvidenceKind, TrustRoots, Verified, Verifier};
use attestation::{TcbStatus, VerifyError};
use testkit::needed::vectors;

/// Evidence with all that its verification takes.
#[derive(Clone)]
pub(crate) struct Capture {
    pub(crate) kind: EvidenceKind,
    /// As `flashbots-ratls/1` carries it.
    pub(crate) document: Vec<u8>,
    pub(crate) collateral: Collateral,
    pub(crate) binding: Binding,
    /// Seconds since 1970 at which all of it is valid.
    pub(crate) now: u64,
    pub(crate) verifier: Verifier,
}

impl Capture {
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence::parse_ratls(self.kind, &self.document).unwrap()
    }

    pub(crate) fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_evidence(&self.evidence())
    }

    pub(crate) fn verify_evidence(&self, evidence: &Evidence) -> Result<Verified, VerifyError> {
        let Self {
            collateral,
            binding,
            now,
            ..
        } = self;
        self.verifier.verify(evidence, collateral, binding, *now)
    }

    /// What another document says, or that it is refused.
    pub(crate) fn claims_of(&self, document: &[u8]) -> Option<Verified> {
        let evidence = Evidence::parse_ratls(self.kind, document).ok()?;
        self.verify_evidence(&evidence).ok()
    }
}

fn strict() -> Verifier {
    Verifier::new(TrustRoots::pinned())
}

/// A machine of Azure, quoted without a key and without a session: its input data are zero.
pub(crate) fn azure() -> Option<Capture> {
    let vectors = vectors("azure-tdx")?;
    let evidence =
        std::fs::read_to_string(vectors.join("azure-tdx-1764662251380464271.yaml")).unwrap();
    let collateral = std::fs::read_to_string(vectors.join("azure-collateral02.yaml")).unwrap();
    Some(Capture {
        kind: EvidenceKind::AzureTdx,
        document: azure_document(&evidence),
        collateral: Collateral::parse(&to_json(&scalars(&collateral))).unwrap(),
        binding: Binding::ratls_input_data([0; 64]),
        now: 1_772_000_000,
        verifier: strict(),
    })
}

/// A machine without a vTPM, up to date.
pub(crate) fn dcap() -> Option<Capture> {
    dcap_capture("tdx_quote", 48, 1_751_000_000)
}

/// A machine of Azure's v6 size; only its TD quote was captured.
pub(crate) fn dcap_outdated() -> Option<Capture> {
    dcap_capture("tdx_quote_outdated", 54, 1_772_000_000)
}

fn dcap_capture(name: &str, body: usize, now: u64) -> Option<Capture> {
    let vectors = vectors("dcap-tdx")?;
    let document = std::fs::read(vectors.join(name)).unwrap();
    let collateral = std::fs::read(vectors.join(format!("{name}_collateral.json"))).unwrap();
    let report_data = document[body + 520..][..64].try_into().unwrap();
    Some(Capture {
        kind: EvidenceKind::DcapTdx,
        document,
        collateral: Collateral::parse(&collateral).unwrap(),
        binding: Binding::ratls_input_data(report_data),
        now,
        verifier: strict(),
    })
}

/// The capture is YAML; on the wire the same document is JSON.
fn azure_document(yaml: &str) -> Vec<u8> {
    let scalars = scalars(yaml);
    let text = |key: &str| scalars[key].clone();
    let one_line = |key: &str| text(key).split_whitespace().collect::<String>();
    let pcrs: Vec<Vec<u8>> = yaml
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ["))
        .map(numbers)
        .collect();
    assert_eq!(pcrs.len(), 24);
    let document = serde_json::json!({
        "tdx_quote_base64": one_line("tdx_quote_base64"),
        "hcl_report_base64": one_line("hcl_report_base64"),
        "tpm_attestation": {
            "ak_certificate_pem": text("ak_certificate_pem"),
            "quote": {
                "signature": numbers(flow(yaml, "signature")),
                "message": numbers(flow(yaml, "message")),
                "pcrs": pcrs,
            },
            "event_log": [],
            "instance_info": null,
        },
    });
    serde_json::to_vec(&document).unwrap()
}

/// The block scalars of a YAML text, by key, whatever object they are in.
fn scalars(yaml: &str) -> BTreeMap<String, String> {
    let mut scalars = BTreeMap::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(key) = line.trim().strip_suffix(": |-") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut text = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(&" ".repeat(indent + 1))) {
            text.push(line.trim());
        }
        scalars.insert(key.to_owned(), text.join("\n"));
    }
    scalars
}

fn to_json(scalars: &BTreeMap<String, String>) -> Vec<u8> {
    serde_json::to_vec(scalars).unwrap()
}

/// What stands in the brackets after a key.
fn flow<'a>(yaml: &'a str, key: &str) -> &'a str {
    let (_, rest) = yaml.split_once(&format!("{key}: [")).unwrap();
    rest.split_once(']').unwrap().0
}

fn numbers(list: &str) -> Vec<u8> {
    list.trim_end_matches(']')
        .split(',')
        .map(|number| number.trim().parse().unwrap())
        .collect()
}

/// The same as evidence of one who sends no key.
pub(crate) fn td_quote_only(td_quote: Vec<u8>) -> Evidence {
    Evidence::DcapTdx(DcapTdx {
        td_quote,
        user_data: None,
    })
}

/// Says that a status is as expected, with what is missing if not.
pub(crate) fn assert_status(verified: &Verified, expected: TcbStatus) {
    let tcb = verified.tcb();
    assert_eq!(tcb.status, expected, "{tcb:?}");
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
