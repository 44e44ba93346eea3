//! No byte of valid evidence can be changed so that it says something else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use attestation::evidence::{AzureForm, AzureTdx, TpmQuote};
use attestation::{Collateral, Evidence, Verified, VerifyError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::{Capture, azure, dcap, td_quote_only};

/// Flips one bit of every byte, another one each time.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|position| {
        let mut bytes = bytes.to_vec();
        bytes[position] ^= 1 << (position % 8);
        (position, bytes)
    })
}

/// Checks that changed evidence is refused or claims the same; says where it was accepted.
fn accepted(
    capture: &Capture,
    verified: &Verified,
    what: &str,
    changed: impl Iterator<Item = (usize, Option<Evidence>)>,
) -> Vec<usize> {
    let mut accepted = Vec::new();
    for (position, evidence) in changed {
        let result = evidence.map(|evidence| capture.verify_evidence(&evidence));
        if let Some(Ok(claims)) = result {
            assert_eq!(&claims, verified, "byte {position} of the {what}");
            accepted.push(position);
        }
    }
    accepted
}

/// Checks that a TD quote was accepted only where what changed is not used: line ends of its
/// certificates, the last of these, which is the root itself, and what follows the quote.
fn assert_unused(td_quote: &[u8], accepted: &[usize]) {
    let begin = b"-----BEGIN CERTIFICATE-----";
    let (root, _) = td_quote
        .windows(begin.len())
        .enumerate()
        .filter(|(_, window)| window == begin)
        .nth(2)
        .unwrap();
    for position in accepted {
        assert!(
            td_quote[*position] == b'\n' || *position > root,
            "{position}"
        );
    }
}

/// The parts of the captured evidence of Azure, to be put together again with one changed.
struct Parts {
    td_quote: Vec<u8>,
    hcl_report: Vec<u8>,
    tpm_quote: TpmQuote,
    ak_certificates: Vec<Vec<u8>>,
}

impl Parts {
    fn of(capture: &Capture) -> Self {
        let Evidence::AzureTdx(evidence) = capture.evidence() else {
            panic!("of Azure")
        };
        let AzureForm::Ratls { hcl_report } = evidence.form() else {
            panic!("with an HCL report")
        };
        Self {
            td_quote: evidence.td_quote().to_vec(),
            hcl_report: hcl_report.clone(),
            tpm_quote: evidence.tpm_quote().clone(),
            ak_certificates: evidence.ak_certificates().to_vec(),
        }
    }

    fn with(
        &self,
        change: impl FnOnce(&mut (Vec<u8>, Vec<u8>, TpmQuote, Vec<Vec<u8>>)),
    ) -> Option<Evidence> {
        let mut parts = (
            self.td_quote.clone(),
            self.hcl_report.clone(),
            self.tpm_quote.clone(),
            self.ak_certificates.clone(),
        );
        change(&mut parts);
        let (td_quote, hcl_report, tpm_quote, certificates) = parts;
        let evidence = AzureTdx::ratls(td_quote, hcl_report, tpm_quote, certificates).ok()?;
        Some(Evidence::AzureTdx(Box::new(evidence)))
    }
}

#[test]
fn any_flipped_byte_of_a_td_quote_is_refused_or_says_nothing_else() {
    let Some(capture) = dcap() else { return };
    let verified = capture.verify().unwrap();
    let changed = flipped(&capture.document).map(|(at, bytes)| (at, Some(td_quote_only(bytes))));
    let accepted = accepted(&capture, &verified, "TD quote", changed);
    assert_unused(&capture.document, &accepted);
}

#[test]
fn any_flipped_byte_of_the_parts_is_refused_or_says_nothing_else() {
    let Some(capture) = azure() else { return };
    let verified = capture.verify().unwrap();
    let parts = Parts::of(&capture);
    let check = |what, changed: &mut dyn Iterator<Item = (usize, Option<Evidence>)>| {
        accepted(&capture, &verified, what, changed)
    };

    let mut changed = flipped(&parts.tpm_quote.attest)
        .map(|(at, bytes)| (at, parts.with(|parts| parts.2.attest = bytes)));
    assert!(check("vTPM quote", &mut changed).is_empty());

    let mut changed = flipped(&parts.tpm_quote.signature)
        .map(|(at, bytes)| (at, parts.with(|parts| parts.2.signature = bytes)));
    assert!(check("vTPM signature", &mut changed).is_empty());

    for register in 0..24 {
        let value = parts.tpm_quote.pcrs[&register];
        let mut changed = flipped(&value).map(|(at, bytes)| {
            let value = bytes.try_into().unwrap();
            (
                at,
                parts.with(|parts| *parts.2.pcrs.get_mut(&register).unwrap() = value),
            )
        });
        assert!(check("PCR", &mut changed).is_empty());
    }

    // Of the report, what the TD quote says itself is looked at, and the runtime data.
    let mut changed = flipped(&parts.hcl_report)
        .step_by(3)
        .map(|(at, bytes)| (at, parts.with(|parts| parts.1 = bytes)));
    let runtime_data = 1236..1236 + 1158;
    let report_data = 160..224;
    for position in check("HCL report", &mut changed) {
        assert!(!runtime_data.contains(&position), "{position}");
        assert!(!report_data.contains(&position), "{position}");
    }

    let length = 1009;
    let mut changed = flipped(&parts.ak_certificates[0][..length])
        .map(|(at, bytes)| (at, parts.with(|parts| parts.3[0] = bytes)));
    assert!(check("AK certificate", &mut changed).is_empty());
}

#[test]
fn any_flipped_byte_of_the_quote_within_is_refused_or_says_nothing_else() {
    let Some(capture) = azure() else { return };
    let verified = capture.verify().unwrap();
    let parts = Parts::of(&capture);
    let changed =
        flipped(&parts.td_quote).map(|(at, bytes)| (at, parts.with(|parts| parts.0 = bytes)));
    let accepted = accepted(&capture, &verified, "TD quote", changed);
    assert_unused(&parts.td_quote, &accepted);
}

#[test]
fn any_flipped_byte_of_the_document_is_refused_or_says_nothing_else() {
    let Some(capture) = azure() else { return };
    let verified = capture.verify().unwrap();
    let document = capture.document.clone();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1_000));
    let strategy = (0..document.len(), 0..8_u32);
    runner
        .run(&strategy, |(position, bit)| {
            let mut document = document.clone();
            document[position] ^= 1 << bit;
            if let Some(claims) = capture.claims_of(&document) {
                prop_assert_eq!(&claims, &verified);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_flipped_byte_of_the_collateral_is_refused_or_says_nothing_else() {
    let Some(mut capture) = dcap() else { return };
    let verified = capture.verify().unwrap();
    let json = capture.collateral.to_json();
    let mut refused = 0;
    for (position, json) in flipped(&json).step_by(7) {
        match Collateral::parse(&json) {
            Err(_) => refused += 1,
            Ok(collateral) => {
                capture.collateral = collateral;
                match capture.verify() {
                    Ok(claims) => assert_eq!(claims, verified, "{position}"),
                    Err(VerifyError::TdQuote(_)) => panic!("not about the collateral"),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn shortened_documents_are_refused(cut in 1..20_000_usize) {
        let Some(capture) = azure() else { return Ok(()) };
        let length = capture.document.len().saturating_sub(cut);
        prop_assert!(capture.claims_of(&capture.document[..length]).is_none());
    }
}
