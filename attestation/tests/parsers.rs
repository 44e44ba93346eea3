//! No bytes make a parser panic, and our reading of a quote is that of the crate that verifies it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::time::{Duration, SystemTime};

use attestation::collateral::PlatformKey;
use attestation::evidence::{HclReport, RuntimeData};
use attestation::td_quote::TdQuote;
use attestation::{Collateral, Evidence, EvidenceKind};
use proptest::prelude::*;
use testkit::tee::{QuoteForm, Tee};

const NOW: u64 = 1_790_000_000;

fn tee() -> Tee {
    Tee::new(1, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

/// All parsers of what comes from outside.
fn parse(bytes: &[u8]) {
    for kind in EvidenceKind::ALL {
        for evidence in [
            Evidence::parse_atls(kind, bytes),
            Evidence::parse_ratls(kind, bytes),
        ]
        .into_iter()
        .flatten()
        {
            let _ = evidence.to_document();
        }
    }
    let _ = TdQuote::parse(bytes);
    let _ = PlatformKey::of(bytes);
    let _ = HclReport::parse(bytes);
    let _ = RuntimeData::parse(bytes);
    if let Ok(collateral) = Collateral::parse(bytes) {
        let _ = collateral.window();
    }
}

/// One of each thing that is parsed.
fn valid() -> Vec<Vec<u8>> {
    let tee = tee();
    let azure = tee.azure_atls([7; 32], b"nonce");
    vec![
        azure.atls_document(),
        azure.atls_document_with_certificates(),
        tee.azure_ratls([9; 64]).ratls_document(),
        tee.dcap_atls([7; 32], b"nonce").atls_document(),
        azure.td_quote.clone(),
        azure.hcl_report.clone(),
        azure.runtime_data.clone(),
        tee.collateral().to_json().into_bytes(),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        parse(&bytes);
    }

    #[test]
    fn no_json_makes_a_parser_panic(
        text in r#"[\[{]("(Attestation|InstanceInfo|UserData|keys|quotes|pcrs|hash|kid|n|e)":)?[\[\]{}",:0-9a-z]{0,64}"#
    ) {
        parse(text.as_bytes());
    }
}

#[test]
fn no_changed_byte_makes_a_parser_panic() {
    let valid = valid();
    let strategy = (
        0..valid.len(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    runner
        .run(&strategy, |(which, position, value, is_cut)| {
            let mut bytes = valid[which].clone();
            let position = position.index(bytes.len());
            bytes[position] = value;
            if is_cut {
                bytes.truncate(position);
            }
            parse(&bytes);
            Ok(())
        })
        .unwrap();
}

/// Compares field by field with `dcap-qvl`.
fn compare(quote: &[u8]) {
    let ours = TdQuote::parse(quote).unwrap();
    let theirs = dcap_qvl::quote::Quote::parse(quote).unwrap();
    let report = theirs.report.as_td10().unwrap();
    let body = &ours.body;
    assert_eq!(ours.version, theirs.header.version);
    assert_eq!(body.tee_tcb_svn, report.tee_tcb_svn);
    assert_eq!(body.mr_seam.0, report.mr_seam);
    assert_eq!(body.mr_signer_seam.0, report.mr_signer_seam);
    assert_eq!(body.seam_attributes.to_le_bytes(), report.seam_attributes);
    assert_eq!(body.td_attributes.to_le_bytes(), report.td_attributes);
    assert_eq!(body.xfam.to_le_bytes(), report.xfam);
    assert_eq!(body.mr_td.0, report.mr_td);
    assert_eq!(body.mr_config_id.0, report.mr_config_id);
    assert_eq!(body.mr_owner.0, report.mr_owner);
    assert_eq!(body.mr_owner_config.0, report.mr_owner_config);
    let rtmr = [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3];
    assert_eq!(body.rtmr.map(|value| value.0), rtmr);
    assert_eq!(body.report_data, report.report_data);
    assert_eq!(ours.pck_chain, theirs.raw_cert_chain().unwrap());
    let newer = theirs.report.as_td15();
    assert_eq!(body.tdx_15.is_some(), newer.is_some());
    if let (Some(ours), Some(theirs)) = (&body.tdx_15, newer) {
        assert_eq!(ours.tee_tcb_svn2, theirs.tee_tcb_svn2);
        assert_eq!(ours.mr_service_td.0, theirs.mr_service_td);
    }
}

#[test]
fn we_read_quotes_as_the_verifying_crate_does() {
    let mut tee = tee();
    for form in [QuoteForm::V4, QuoteForm::V5Td10, QuoteForm::V5Td15] {
        tee.quote_form = form;
        compare(&tee.dcap_ratls([9; 64]).td_quote);
    }
    let captures = [support::azure(), support::dcap(), support::dcap_outdated()];
    for capture in captures.into_iter().flatten() {
        compare(capture.evidence().td_quote());
    }
}

#[test]
fn the_captured_report_names_its_ak() {
    let Some(path) = testkit::needed::vectors("azure-tdx/hcl-report-tdx.bin") else {
        return;
    };
    let bytes = support::read(&path);
    let report = HclReport::parse(&bytes).unwrap();
    let hash = ring::digest::digest(&ring::digest::SHA256, report.runtime_data);
    assert_eq!(report.report_data[..32], *hash.as_ref());
    assert_eq!(report.report_data[32..], [0; 32]);
    let runtime_data = RuntimeData::parse(report.runtime_data).unwrap();
    assert_eq!(runtime_data.ak.modulus().len(), 256);
}
