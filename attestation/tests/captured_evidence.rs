//! Evidence captured from real machines: accepted at its time, with the right status, and not at
//! another time, nor for another connection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use attestation::collateral::{CollateralError, PckCa, PlatformKey};
use attestation::evidence::EvidenceError;
use attestation::td_quote::TdQuote;
use attestation::tpm_quote::QuoteError;
use attestation::verify::TcbPart;
use attestation::{Binding, Collateral, Evidence, EvidenceKind, TcbStatus, VerifyError};
use support::{assert_status, azure, dcap, dcap_outdated, td_quote_only};

#[test]
fn a_machine_of_azure_is_verified() {
    let Some(capture) = azure() else { return };
    let verified = capture.verify().unwrap();
    assert_eq!(verified.kind(), EvidenceKind::AzureTdx);
    assert_eq!(verified.registers().len(), 24);
    assert_eq!(
        verified.registers()[&7].to_string()[..16],
        *"124daf47b4d67179"
    );
    assert_status(&verified, TcbStatus::UpToDate);
    assert!(verified.tcb().advisory_ids.is_empty());
    assert!(verified.tcb().shortfalls.is_empty());
    assert!(!verified.tcb().azure_v6_override);
    assert_eq!(verified.tcb().fmspc, [0x90, 0xc0, 0x6f, 0, 0, 0]);
    assert!(verified.has_ak_certificate());
    assert!(verified.roots_are_pinned());
    assert_eq!(verified.tpm_clock().unwrap().reset_count, 2);
}

#[test]
fn a_machine_without_a_vtpm_is_verified() {
    let Some(capture) = dcap() else { return };
    let verified = capture.verify().unwrap();
    assert_eq!(verified.kind(), EvidenceKind::DcapTdx);
    assert_eq!(verified.registers().len(), 5);
    assert_eq!(
        verified.registers()[&0].to_string()[..16],
        *"91eb2b44d141d4ec"
    );
    assert_eq!(
        verified.registers()[&4].to_string(),
        "0".repeat(96),
        "RTMR 3"
    );
    assert_status(&verified, TcbStatus::UpToDate);
    assert!(!verified.has_ak_certificate());
    assert_eq!(verified.tpm_clock(), None);
}

#[test]
fn a_platform_below_every_level_is_refused_and_named() {
    let Some(capture) = dcap_outdated() else {
        return;
    };
    match capture.verify() {
        Err(VerifyError::NoTcbLevel { shortfalls }) => {
            let texts: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
            assert_eq!(texts, ["SGX TCB component 7 is 3, expected 5"]);
            assert_eq!(shortfalls[0].part, TcbPart::SgxTcb);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_override_does_not_reach_bare_machines() {
    let Some(mut capture) = dcap_outdated() else {
        return;
    };
    capture.verifier = capture.verifier.with_azure_v6_tcb_override();
    assert!(matches!(
        capture.verify(),
        Err(VerifyError::NoTcbLevel { .. })
    ));
}

#[test]
fn nothing_is_valid_outside_its_time() {
    for capture in [azure(), dcap()] {
        let Some(mut capture) = capture else { return };
        let window = capture.collateral.window().unwrap();
        for now in [window.from, window.until] {
            capture.now = now;
            capture.verify().unwrap();
        }
        for now in [window.from - 1, window.until + 1, 0, u64::MAX] {
            capture.now = now;
            match capture.verify() {
                Err(VerifyError::Collateral(CollateralError::NotNow { now: named, .. })) => {
                    assert_eq!(named, now);
                }
                other => panic!("{now}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_windows_are_those_that_are_known() {
    let Some(capture) = azure() else { return };
    let window = capture.collateral.window().unwrap();
    // 2026-02-18T13:58:55Z, of the TCB info, to 2026-03-20T13:41:19Z, before the PCK CRL's end.
    assert_eq!((window.from, window.until), (1_771_423_135, 1_774_014_079));
}

#[test]
fn a_quote_for_another_connection_is_refused() {
    let Some(mut capture) = dcap() else { return };
    capture.binding = Binding::ratls_input_data([1; 64]);
    assert!(matches!(capture.verify(), Err(VerifyError::ReportData)));

    let Some(mut capture) = azure() else { return };
    let mut input = [0; 64];
    input[63] = 1;
    capture.binding = Binding::ratls_input_data(input);
    assert!(matches!(capture.verify(), Err(VerifyError::HclUserData)));
}

#[test]
fn a_vtpm_quote_for_another_nonce_is_refused() {
    let Some(capture) = azure() else { return };
    // Taken for an aTLS document, everything is bound but to something else.
    let Evidence::AzureTdx(evidence) = capture.evidence() else {
        panic!("of Azure")
    };
    let mut as_atls = capture.clone();
    as_atls.binding = Binding::atls_user_data([7; 32], b"nonce");
    assert!(matches!(as_atls.verify(), Err(VerifyError::Protocol)));

    let ak = tpmt_public(
        attestation::evidence::RuntimeData::parse(evidence.runtime_data())
            .unwrap()
            .ak
            .modulus(),
    );
    let atls = attestation::evidence::AzureTdx::atls(
        evidence.td_quote().to_vec(),
        evidence.runtime_data().to_vec(),
        ak,
        evidence.tpm_quote().clone(),
        [7; 32],
    );
    let result = as_atls.verify_evidence(&Evidence::AzureTdx(Box::new(atls)));
    assert!(
        matches!(
            result,
            Err(VerifyError::TpmQuote(QuoteError::QualifyingData))
        ),
        "{result:?}"
    );
}

/// As an Azure vTPM describes its AK.
fn tpmt_public(modulus: &[u8]) -> Vec<u8> {
    let head = b"\x00\x01\x00\x0b\x00\x05\x04\x72\x00\x00\x00\x10\x00\x14\x00\x0b\x08\x00";
    [&head[..], b"\x00\x00\x00\x00\x01\x00", modulus].concat()
}

#[test]
fn collateral_of_another_platform_is_refused() {
    let (Some(mut capture), Some(other)) = (azure(), dcap()) else {
        return;
    };
    capture.collateral = other.collateral;
    capture.now = other.now;
    match capture.verify() {
        Err(VerifyError::OtherPlatform {
            field, expected, ..
        }) => {
            assert_eq!((field, expected.as_str()), ("FMSPC", "90C06F000000"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_quote_says_what_collateral_it_needs() {
    let Some(capture) = azure() else { return };
    let key = PlatformKey::of(capture.evidence().td_quote()).unwrap();
    assert_eq!(key.fmspc, [0x90, 0xc0, 0x6f, 0, 0, 0]);
    assert_eq!(key.ca, PckCa::Platform);
}

#[test]
fn what_follows_a_quote_is_ignored() {
    let Some(capture) = dcap() else { return };
    let size = TdQuote::parse(&capture.document).unwrap().size;
    assert_eq!(size, 4936);
    let verified = capture.verify().unwrap();
    for length in [size, size + 1, 8000] {
        let mut document = capture.document.clone();
        document.resize(length, 0xff);
        assert_eq!(capture.claims_of(&document), Some(verified.clone()));
    }
    let cut = capture.document[..size - 1].to_vec();
    let result = capture.verify_evidence(&td_quote_only(cut));
    assert!(matches!(result, Err(VerifyError::TdQuote(_))));
}

#[test]
fn documents_and_collateral_survive_writing_and_reading() {
    for capture in [azure(), dcap()] {
        let Some(capture) = capture else { return };
        let evidence = capture.evidence();
        let again = Evidence::parse_ratls(capture.kind, &evidence.to_document()).unwrap();
        assert_eq!(again, evidence);
        let collateral = Collateral::parse(&capture.collateral.to_json()).unwrap();
        assert_eq!(collateral, capture.collateral);
    }
}

#[test]
fn an_oversized_document_is_refused_before_it_is_read() {
    for kind in EvidenceKind::ALL {
        let document = vec![b' '; 300_000];
        for result in [
            Evidence::parse_atls(kind, &document),
            Evidence::parse_ratls(kind, &document),
        ] {
            assert!(matches!(result, Err(EvidenceError::TooLarge { .. })));
        }
    }
}
