//! No log makes a parser or an explanation panic; what was written is what is read.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

#[path = "event_log_support/mod.rs"]
mod support;

use measurements::event_log::{Bank, BankDigests, EventLog, LoggedEvent, UserspaceLog, event_type};
use measurements::{Digest, Digests};
use proptest::prelude::*;
use support::*;

/// Types whose data is decoded, and others.
fn kind() -> impl Strategy<Value = u32> {
    let decoded = vec![
        NO_ACTION,
        SEPARATOR,
        TAG,
        IPL,
        8,
        ACTION,
        0x8000_0001,
        0x8000_0002,
        APPLICATION,
        DRIVER,
        0x8000_0005,
        0x8000_0006,
        0x8000_0008,
        0x8000_000c,
        0x8000_00e0,
    ];
    prop_oneof![4 => prop::sample::select(decoded), 1 => any::<u32>()]
}

/// Data that looks like something, with a few bytes changed.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let variable = [
        &[7; 16][..],
        &[8, 0, 0, 0, 0, 0, 0, 0],
        &[20, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let option = [&[1, 0, 0, 0, 4, 0][..], &utf16("disk"), &[0x7f, 0xff, 4, 0]].concat();
    let mut gpt = [&b"EFI PART"[..], &[1; 84], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    gpt.extend([0x61; 128]);
    let shapes = vec![
        utf16(".linux"),
        utf16("console=ttyS0"),
        loaded("\\EFI\\BOOT\\BOOTX64.EFI"),
        loaded_by_stub(),
        tagged(0x8f3b_22ed, b"LOADED_IMAGE::LoadOptions\0"),
        [&variable[..], &utf16("Boot0001")[..16], &option].concat(),
        gpt,
        b"StartupLocality\0\x03".to_vec(),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let shaped = (prop::sample::select(shapes), changes).prop_map(|(mut data, changes)| {
        for (index, byte) in changes {
            let at = index.index(data.len());
            data[at] = byte;
        }
        data
    });
    prop_oneof![shaped, prop::collection::vec(any::<u8>(), 0..80)]
}

fn log() -> impl Strategy<Value = EventLog> {
    let banks = prop::sample::subsequence(Bank::ALL.to_vec(), 1..=2);
    let event = (0..24_u32, kind(), any::<u8>(), data());
    (banks, prop::collection::vec(event, 0..20)).prop_map(|(banks, events)| {
        let has = |bank| banks.contains(&bank);
        let events = events
            .into_iter()
            .map(|(pcr, event_type, byte, data)| LoggedEvent {
                pcr,
                event_type,
                digests: BankDigests {
                    sha256: has(Bank::Sha256).then_some(Digest([byte; 32])),
                    sha384: has(Bank::Sha384).then_some(Digest([byte; 48])),
                },
                data,
            });
        let events = events.collect();
        EventLog { banks, events }
    })
}

proptest! {
    #[test]
    fn written_logs_are_read_as_they_were(log in log(), others in 0..4_usize) {
        let bytes = write(&log, &[SHA1, SM3, (0x4321, 7)][..others.min(3)]);
        prop_assert_eq!(EventLog::parse(&bytes), Ok(log.clone()));
        let padded = [&bytes[..], &[0; 100]].concat();
        prop_assert_eq!(EventLog::parse_padded(&padded), Ok(log.clone()));
        prop_assert_eq!(EventLog::parse_prefix(&padded), Ok((log, bytes.len())));
    }

    #[test]
    fn truncation_is_refused(log in log(), cut in any::<prop::sample::Index>()) {
        let bytes = write(&log, &[SHA1]);
        let cut = cut.index(bytes.len());
        // At the border between two events, what is left is a log: that of fewer events.
        if let Ok(shorter) = EventLog::parse(&bytes[..cut]) {
            prop_assert_eq!(write(&shorter, &[SHA1]), &bytes[..cut]);
        }
        if let Some(last) = log.events.last() {
            let end = bytes.len() - last.data.len().max(1);
            prop_assert!(EventLog::parse(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn any_event_is_described_in_plain_words(kind in kind(), data in data()) {
        let event = measured(4, kind, b"", &data);
        let words = event.describe();
        prop_assert!(words.chars().all(|c| c == '…' || (' '..='~').contains(&c)), "{}", words);
        prop_assert!(words.len() < 20_000);
        event.is_confirmed();
        event_type::name(kind);
    }

    #[test]
    fn mutated_logs_do_not_panic(
        log in log(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = write(&log, &[]);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = EventLog::parse_padded(&bytes);
    }

    #[test]
    fn userspace_logs_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = UserspaceLog::parse(&bytes);
        let _ = UserspaceLog::parse(&[b"\x1e", &bytes[..], b"\n"].concat());
    }

    #[test]
    fn replay_is_the_fold_of_what_was_extended(of in prop::collection::vec(any::<[u8; 4]>(), 0..9)) {
        let events = of.iter().map(|of| measured(9, TAG, of, b"")).collect();
        let log = EventLog { banks: Bank::ALL.into(), events };
        let value = of.iter().fold(Digests::ZERO, |value, of| value.extend(Digests::of(of)));
        prop_assert_eq!(log.replay(9), BankDigests::from(value));
    }
}
