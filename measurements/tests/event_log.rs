//! Event logs of other shapes than the captured one.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

#[path = "event_log_support/mod.rs"]
mod support;

use measurements::event_log::{Bank, BankDigests, EventLog, EventLogError};
use measurements::{Digest, Sha256Digest};
use support::*;

#[test]
fn known_banks_of_extended_events_count() {
    let banks = [SM3, SHA384, SHA1, SHA256, (0x1234, 3)];
    let log = [
        header(&banks),
        event(&banks, 4, SEPARATOR, 1, b"one"),
        event(&banks, 4, NO_ACTION, 9, b"information"),
        event(&banks, 5, SEPARATOR, 2, b""),
        event(&banks, u32::MAX, NO_ACTION, 0, b"reference manifest"),
        event(&banks, 4, SEPARATOR, 3, b"two"),
    ]
    .concat();
    let log = EventLog::parse(&log).unwrap();
    let [one, three] = [1, 3].map(|byte| BankDigests {
        sha256: Some(Digest([byte; 32])),
        sha384: Some(Digest([byte; 48])),
    });
    assert_eq!(log.banks, [Bank::Sha256, Bank::Sha384]);
    assert_eq!(log.events.len(), 5);
    assert_eq!(log.events[0].data, b"one");
    assert_eq!(log.digests(4), [one, three]);
    let zero = BankDigests::zero(&log.banks);
    assert_eq!(log.replay(4), zero.extend(one).extend(three));
    assert_eq!(log.replay(23), zero);
}

#[test]
fn one_bank_is_enough() {
    for (bank, algorithm) in [(Bank::Sha256, SHA256), (Bank::Sha384, SHA384)] {
        let banks = [algorithm];
        let log = [header(&banks), event(&banks, 4, SEPARATOR, 1, b"")].concat();
        let log = EventLog::parse(&log).unwrap();
        assert_eq!(log.banks, [bank]);
        let other = Bank::ALL.into_iter().find(|other| *other != bank).unwrap();
        assert!(log.replay(4).of(bank).is_some());
        assert_eq!(log.replay(4).of(other), None);
    }
}

#[test]
fn startup_locality_is_the_beginning_of_register_0_only() {
    let banks = [SHA256];
    let locality = event(&banks, 0, NO_ACTION, 0, b"StartupLocality\0\x03");
    let log = EventLog::parse(&[header(&banks), locality].concat()).unwrap();
    let mut expected = [0; 32];
    expected[31] = 3;
    assert_eq!(log.replay(0).sha256, Some(Digest(expected)));
    assert_eq!(log.replay(1).sha256, Some(Sha256Digest::ZERO));
}

#[test]
fn log_of_tdx_is_told_by_its_bank_and_indices() {
    let of = |banks: &[Algorithm], last| {
        let log = [
            header(banks),
            event(banks, 1, SEPARATOR, 1, b""),
            event(banks, u32::MAX, NO_ACTION, 1, b""),
            event(banks, last, SEPARATOR, 1, b""),
        ];
        EventLog::parse(&log.concat()).unwrap().is_of_tdx()
    };
    assert!(of(&[SHA384], 4));
    assert!(!of(&[SHA384], 5));
    assert!(!of(&[SHA256, SHA384], 4));
}

#[test]
fn what_is_not_a_log_is_named() {
    let banks = [SHA256];
    let truncated = EventLogError::Truncated { offset: 0 };
    assert_eq!(EventLog::parse(&[]), Err(truncated));
    assert_eq!(EventLog::parse(&[0; 100]), Err(EventLogError::NoSpecId));
    let of_banks = |banks: &[Algorithm]| EventLog::parse(&header(banks)).unwrap_err();
    assert_eq!(of_banks(&[SHA1, SM3]), EventLogError::NoBank);
    assert_eq!(
        of_banks(&[(11, 20)]),
        EventLogError::Algorithm { algorithm: 11 }
    );
    assert_eq!(
        of_banks(&[SHA256, SHA1, SHA1]),
        EventLogError::Algorithm { algorithm: 4 }
    );
    assert_eq!(of_banks(&[]), EventLogError::AlgorithmCount { actual: 0 });
    let many = [SHA256].repeat(17);
    assert_eq!(
        of_banks(&many),
        EventLogError::AlgorithmCount { actual: 17 }
    );

    let offset = header(&banks).len();
    let with = |event: Vec<u8>| EventLog::parse(&[header(&banks), event].concat());
    assert_eq!(
        with(event(&banks, 24, SEPARATOR, 1, b"")),
        Err(EventLogError::Pcr { offset, actual: 24 })
    );
    let wrong = Err(EventLogError::Digests {
        offset,
        expected: 1,
    });
    assert_eq!(with(event(&[], 4, SEPARATOR, 1, b"")), wrong);
    assert_eq!(with(event(&[SHA1], 4, SEPARATOR, 1, b"")), wrong);
    let mut cut = event(&banks, 4, SEPARATOR, 1, b"data");
    cut.pop();
    assert_eq!(with(cut), Err(EventLogError::Truncated { offset }));
}

#[test]
fn logs_with_sha1_only_are_recognised() {
    for first in [
        older_event(0, NO_ACTION, 0, b"Spec ID Event00\0and so on"),
        older_event(0, NO_ACTION, 0, b"Spec ID Event02\0and so on"),
        older_event(4, SEPARATOR, 7, &[0; 4]),
    ] {
        assert_eq!(EventLog::parse(&first), Err(EventLogError::Sha1Only));
    }
    // Not a type, not a register, nothing extended.
    for first in [
        older_event(4, 0x4000, 7, b""),
        older_event(24, SEPARATOR, 7, b""),
        older_event(4, SEPARATOR, 0, b""),
    ] {
        assert_eq!(EventLog::parse(&first), Err(EventLogError::NoSpecId));
    }
}

#[test]
fn prefix_ends_at_the_first_thing_that_is_no_event() {
    let banks = [SHA1, SHA256];
    let log = [header(&banks), event(&banks, 4, SEPARATOR, 1, b"one")].concat();
    let memory = [
        log.clone(),
        event(&[SHA256], 4, SEPARATOR, 2, b"of another log"),
    ]
    .concat();
    let (parsed, used) = EventLog::parse_prefix(&memory).unwrap();
    assert_eq!((parsed.events.len(), used), (1, log.len()));
    assert!(EventLog::parse_prefix(&memory[1..]).is_err());
}

#[test]
fn only_unused_memory_may_be_behind_a_padded_log() {
    let banks = [SHA256];
    let log = [header(&banks), event(&banks, 4, SEPARATOR, 1, b"one")].concat();
    let whole = EventLog::parse(&log);
    for unused in [&[][..], &[0; 5000], &[0xff; 5000], &[0], &[0xff]] {
        assert_eq!(EventLog::parse_padded(&[&log, unused].concat()), whole);
    }
    let offset = log.len();
    let wrong = EventLogError::Digests {
        offset,
        expected: 1,
    };
    let dirty = [&log[..], &[0; 5000], &[1]].concat();
    assert_eq!(EventLog::parse_padded(&dirty), Err(wrong));
    let cut = EventLogError::Truncated {
        offset: header(&banks).len(),
    };
    assert_eq!(EventLog::parse_padded(&log[..offset - 1]), Err(cut));
}
