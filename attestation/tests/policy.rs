//! Appraisal: what was proven against what was published.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;

use attestation::policy::PolicyError;
use attestation::{Policy, TcbPolicy, TcbStatus, Verified};
use measurements::reference::{AttestationType, ReferenceValues, RegisterValue};
use measurements::{Sha256Digest, Sha384Digest};

/// What a machine has in these registers.
fn actual(verified: &Verified, registers: &[u8]) -> BTreeMap<u8, Vec<RegisterValue>> {
    let value = |register: &u8| (*register, vec![verified.registers()[register]]);
    registers.iter().map(value).collect()
}

fn image(
    name: &str,
    attestation_type: AttestationType,
    registers: BTreeMap<u8, Vec<RegisterValue>>,
) -> ReferenceValues {
    ReferenceValues {
        measurement_id: name.to_owned(),
        attestation_type,
        registers,
    }
}

fn policy(references: Vec<ReferenceValues>) -> Policy {
    Policy::new(references, TcbPolicy::up_to_date()).unwrap()
}

#[test]
fn a_machine_with_the_published_registers_is_trusted() {
    let Some(capture) = support::azure() else {
        return;
    };
    let verified = capture.verify().unwrap();
    let registers = actual(&verified, &[4, 9, 11]);
    let right = image("right", AttestationType::AzureTdx, registers.clone());
    let mut other = registers;
    other.insert(9, vec![RegisterValue::Sha256(Sha256Digest::of(b"other"))]);
    let wrong = image("wrong", AttestationType::AzureTdx, other);

    let appraisal = policy(vec![wrong.clone(), right.clone()]).appraise(&verified);
    assert!(appraisal.is_trusted());
    assert_eq!(appraisal.matched(), Some("right"));
    assert_eq!(appraisal.comparisons.len(), 2);

    let appraisal = policy(vec![wrong]).appraise(&verified);
    assert!(!appraisal.is_trusted());
    assert_eq!(appraisal.matched(), None);
    let nearest = appraisal.nearest().unwrap();
    let different: Vec<_> = nearest.differences().collect();
    assert_eq!(different.len(), 1);
    assert_eq!(different[0].register, 9);
    assert_eq!(different[0].actual, Some(verified.registers()[&9]));
    assert_eq!(
        different[0].expected,
        [RegisterValue::Sha256(Sha256Digest::of(b"other"))]
    );
}

#[test]
fn one_of_several_values_is_enough() {
    let Some(capture) = support::dcap() else {
        return;
    };
    let verified = capture.verify().unwrap();
    let other = RegisterValue::Sha384(Sha384Digest::ZERO);
    let values = vec![other, verified.registers()[&0]];
    let reference = image(
        "any",
        AttestationType::DcapTdx,
        BTreeMap::from([(0, values)]),
    );
    assert!(policy(vec![reference]).appraise(&verified).is_trusted());
}

#[test]
fn values_of_another_kind_of_machine_are_not_compared() {
    let Some(capture) = support::dcap() else {
        return;
    };
    let verified = capture.verify().unwrap();
    let registers = actual(&verified, &[0, 1]);
    let appraisal =
        policy(vec![image("azure", AttestationType::AzureTdx, registers)]).appraise(&verified);
    assert!(!appraisal.is_trusted());
    assert!(appraisal.comparisons.is_empty());
    assert!(appraisal.nearest().is_none());
}

#[test]
fn a_register_that_there_is_not_is_a_difference() {
    let Some(capture) = support::dcap() else {
        return;
    };
    let verified = capture.verify().unwrap();
    let mut registers = actual(&verified, &[0]);
    registers.insert(7, vec![RegisterValue::Sha384(Sha384Digest::ZERO)]);
    let appraisal =
        policy(vec![image("more", AttestationType::DcapTdx, registers)]).appraise(&verified);
    assert!(!appraisal.is_trusted());
    let nearest = appraisal.nearest().unwrap();
    assert_eq!(nearest.differences().next().unwrap().actual, None);
}

#[test]
fn registers_that_must_be_untouched_are_compared_with_zero() {
    let Some(capture) = support::azure() else {
        return;
    };
    let verified = capture.verify().unwrap();
    let reference = image(
        "image",
        AttestationType::AzureTdx,
        actual(&verified, &[4, 9, 11]),
    );
    let fine = policy(vec![reference.clone()]).with_untouched_pcrs([12, 13, 15]);
    assert!(fine.appraise(&verified).is_trusted());
    let touched = policy(vec![reference.clone()]).with_untouched_pcrs([12, 0]);
    let appraisal = touched.appraise(&verified);
    let nearest = appraisal.nearest().unwrap();
    let different: Vec<u8> = nearest.differences().map(|found| found.register).collect();
    assert_eq!(different, [0]);
    // What an image publishes counts for more.
    let said = policy(vec![reference]).with_untouched_pcrs([4]);
    assert!(said.appraise(&verified).is_trusted());
}

#[test]
fn no_policy_accepts_anything() {
    let tcb = TcbPolicy::up_to_date;
    assert_eq!(
        Policy::new(Vec::new(), tcb()),
        Err(PolicyError::NoReferences)
    );
    let empty = image("empty", AttestationType::AzureTdx, BTreeMap::new());
    let result = Policy::new(vec![empty], tcb());
    assert!(matches!(result, Err(PolicyError::NoValues { .. })));
    let valueless = BTreeMap::from([(4, Vec::new())]);
    let valueless = image("valueless", AttestationType::AzureTdx, valueless);
    let error = Policy::new(vec![valueless], tcb()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the reference values of \"valueless\" have no value for register 4"
    );
}

#[test]
fn only_named_statuses_are_accepted() {
    let policy = TcbPolicy::up_to_date();
    for status in TcbStatus::ALL {
        assert_eq!(policy.accepts(status), status == TcbStatus::UpToDate);
        let lenient = TcbPolicy::up_to_date().or(status);
        for other in TcbStatus::ALL {
            let expected = other == status || other == TcbStatus::UpToDate;
            assert_eq!(lenient.accepts(other), expected, "{status} {other}");
        }
        assert_eq!(status.to_string().parse(), Ok(status));
    }
    assert!("Revoked".parse::<TcbStatus>().is_err());
    assert!("outofdate".parse::<TcbStatus>().is_err());
}
