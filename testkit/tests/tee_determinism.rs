//! Seed, time and fault decide every byte, and no fault is without effect.

use std::time::{Duration, SystemTime};

use testkit::tee::{Fault, Tee};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// Everything that a relying party gets to see.
fn all(tee: &Tee) -> Vec<Vec<u8>> {
    let (user_data, nonce, input_data) = ([1; 32], b"nonce", [2; 64]);
    let azure = tee.azure_atls(user_data, nonce);
    vec![
        tee.collateral().to_json().into_bytes(),
        azure.atls_document(),
        azure.atls_document_with_certificates(),
        tee.azure_ratls(input_data).ratls_document(),
        tee.dcap_atls(user_data, nonce).atls_document(),
        tee.dcap_ratls(input_data).td_quote,
    ]
}

#[test]
fn the_same_seed_and_time_make_the_same_bytes() {
    assert_eq!(all(&Tee::new(1, now())), all(&Tee::new(1, now())));
}

#[test]
fn another_seed_or_time_makes_other_bytes() {
    let first = all(&Tee::new(1, now()));
    for other in [
        Tee::new(2, now()),
        Tee::new(1, now() + Duration::from_secs(1)),
    ] {
        let pairs = first.iter().zip(all(&other));
        // The documents, but for the signatures of the time, carry the same TD.
        assert!(pairs.into_iter().any(|(first, other)| *first != other));
    }
    assert_ne!(Tee::new(1, now()).root(), Tee::new(2, now()).root());
}

#[test]
fn each_fault_is_to_be_seen_and_alone() {
    let valid = all(&Tee::new(1, now()));
    let mut seen: Vec<(Fault, Vec<Vec<u8>>)> = Vec::new();
    for fault in Fault::all() {
        let faulty = all(&Tee::with_fault(1, now(), fault));
        assert_ne!(faulty, valid, "{fault} changes nothing");
        let twin = seen.iter().find(|(_, other)| *other == faulty);
        assert!(twin.is_none(), "{fault} is the same as {twin:?}");
        seen.push((fault, faulty));
    }
}

#[test]
fn an_hcl_report_fits_into_a_tpm_and_without_ek_into_a_software_tpm() {
    let tee = Tee::new(1, now());
    let mut machine = tee.machine();
    assert!(tee.hcl_report(&machine, [0; 64]).len() <= testkit::tee::hcl::NV_SIZE);
    machine.ek = None;
    assert!(tee.hcl_report(&machine, [0; 64]).len() <= 2048);
}

#[test]
fn an_azure_document_is_as_small_as_a_tls_stack_needs() {
    let evidence = Tee::new(1, now()).azure_atls([1; 32], b"nonce");
    let size = evidence.atls_document().len();
    assert!((10_000..16_000).contains(&size), "{size}");
}
