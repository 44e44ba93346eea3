//! Event logs of other shapes than the captured one.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

use measurements::Sha256Digest;
use measurements::event_log::{EventLog, EventLogError};

const SHA1: (u16, usize) = (4, 20);
const SHA256: (u16, usize) = (11, 32);
const SEPARATOR: u32 = 4;
const NO_ACTION: u32 = 3;

fn header(banks: &[(u16, usize)]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (algorithm, size) in banks {
        data.extend(algorithm.to_le_bytes());
        data.extend(u16::try_from(*size).unwrap().to_le_bytes());
    }
    data.push(0);
    let mut event = [0u32.to_le_bytes(), NO_ACTION.to_le_bytes()].concat();
    event.extend([0; 20]);
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

fn event(banks: &[(u16, usize)], pcr: u32, kind: u32, byte: u8, data: &[u8]) -> Vec<u8> {
    let mut event = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
    event.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (algorithm, size) in banks {
        event.extend(algorithm.to_le_bytes());
        event.extend(vec![byte; *size]);
    }
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

#[test]
fn only_the_sha256_bank_of_extended_events_counts() {
    let banks = [SHA256, SHA1];
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
    let [one, three] = [[1; 32], [3; 32]].map(measurements::Digest);
    assert_eq!(log.events.len(), 5);
    assert_eq!(log.events[0].data, b"one");
    assert_eq!(log.digests(4), [one, three]);
    assert_eq!(log.replay(4), Sha256Digest::ZERO.extend(one).extend(three));
    assert_eq!(log.replay(23), Sha256Digest::ZERO);
}

#[test]
fn startup_locality_is_the_beginning_of_register_0_only() {
    let banks = [SHA256];
    let locality = event(&banks, 0, NO_ACTION, 0, b"StartupLocality\0\x03");
    let log = EventLog::parse(&[header(&banks), locality].concat()).unwrap();
    let mut expected = [0; 32];
    expected[31] = 3;
    assert_eq!(log.replay(0), measurements::Digest(expected));
    assert_eq!(log.replay(1), Sha256Digest::ZERO);
}

#[test]
fn what_is_not_a_log_is_named() {
    let banks = [SHA256];
    assert_eq!(
        EventLog::parse(&[]),
        Err(EventLogError::Truncated { offset: 0 })
    );
    assert_eq!(EventLog::parse(&[0; 100]), Err(EventLogError::NoSpecId));
    assert_eq!(
        EventLog::parse(&header(&[SHA1])),
        Err(EventLogError::NoSha256)
    );
    assert_eq!(
        EventLog::parse(&header(&[(11, 20)])),
        Err(EventLogError::NoSha256)
    );
    assert_eq!(
        EventLog::parse(&header(&[SHA256, SHA256])),
        Err(EventLogError::NoSha256)
    );
    assert_eq!(
        EventLog::parse(&header(&[])),
        Err(EventLogError::AlgorithmCount { actual: 0 })
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
