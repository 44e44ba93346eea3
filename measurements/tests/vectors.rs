//! Real data that lies beside the project, in `../shared/vectors`: the event log of one boot, and
//! published reference values. Without it these tests say that they were skipped; in CI they fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test, and test data comes from files"
)]

use std::path::Path;

use measurements::event_log::{BankDigests, EventLog};
use measurements::reference::{AttestationType, ReferenceValues};
use measurements::{Digests, Sha256Digest};
use testkit::needed::vectors;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn boot_log(boot: &Path) -> EventLog {
    EventLog::parse(&std::fs::read(boot.join("eventlog.bin")).unwrap()).unwrap()
}

/// Both banks, which the captured log has.
fn both(digests: BankDigests) -> Digests {
    Digests {
        sha256: digests.sha256.unwrap(),
        sha384: digests.sha384.unwrap(),
    }
}

fn replay(log: &EventLog, register: u32) -> Sha256Digest {
    log.replay(register).sha256.unwrap()
}

/// The registers that were read in the guest.
fn guest_registers(boot: &Path) -> Vec<(u32, Sha256Digest)> {
    text(&boot.join("pcrs.txt"))
        .lines()
        .filter_map(|line| line.strip_prefix("pcr")?.split_once(' '))
        .map(|(index, value)| (index.parse().unwrap(), value.trim().parse().unwrap()))
        .collect()
}

#[test]
fn replay_of_the_boot_is_what_the_guest_read() {
    let Some(boot) = vectors("boot") else { return };
    let log = boot_log(&boot);
    let registers = guest_registers(&boot);
    assert_eq!(registers.len(), 24);
    for (index, value) in registers {
        match index {
            // Extended by Linux (IMA) and by systemd-pcrphase: not in the firmware's log.
            10 | 11 => assert_ne!(replay(&log, index), value),
            // Set to ones by the TPM: dynamic launch.
            17..=22 => assert_eq!(value.0, [0xff; 32]),
            _ => assert_eq!(replay(&log, index), value, "PCR {index}"),
        }
    }
}

#[test]
fn events_of_the_boot_are_those_computed_from_its_image() {
    let Some(boot) = vectors("boot") else { return };
    let log = boot_log(&boot);
    // The JSON document ends where the report on its comparison begins.
    let computed = text(&boot.join("computed.txt"));
    let json = computed.split("\nPCR4").next().unwrap();
    let computed: serde_json::Value = serde_json::from_str(json).unwrap();
    for register in [4, 9, 11] {
        let expected: Vec<Sha256Digest> = computed["log"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event[0] == register)
            .map(|event| event[2].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(!expected.is_empty());
        let logged = log.digests(register).into_iter();
        let logged: Vec<_> = logged.map(|digests| digests.sha256.unwrap()).collect();
        assert_eq!(logged, expected, "PCR {register}");
    }
    assert_eq!(
        replay(&log, 4).to_string(),
        computed["pcr4"].as_str().unwrap()
    );
    assert_eq!(
        replay(&log, 9).to_string(),
        computed["pcr9"].as_str().unwrap()
    );
    assert_eq!(
        replay(&log, 11).to_string(),
        computed["pcr11"][""].as_str().unwrap()
    );
}

#[test]
fn prediction_rules_lead_from_the_boots_digests_to_its_registers() {
    use measurements::predict::{pcr04, pcr11};
    let Some(boot) = vectors("boot") else { return };
    let log = boot_log(&boot);
    let [_, _, uki, kernel] = log.digests(4)[..] else {
        panic!("four events in PCR 4")
    };
    assert_eq!(
        pcr04::register([("the UKI", both(uki)), (".linux", both(kernel))]).value,
        both(log.replay(4))
    );

    let data: Vec<_> = log.digests(11).chunks(2).map(|event| event[1]).collect();
    let names = [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat"];
    assert_eq!(
        pcr11::register(names.into_iter().zip(data.into_iter().map(both))).value,
        both(log.replay(11))
    );
}

#[test]
fn log_in_front_of_unused_memory_is_the_same_log() {
    let Some(boot) = vectors("boot") else { return };
    let log = std::fs::read(boot.join("eventlog.bin")).unwrap();
    for unused in [0x00, 0xff, 0x41] {
        let memory = [&log[..], &[unused; 4096]].concat();
        assert_eq!(
            EventLog::parse_prefix(&memory),
            Ok((boot_log(&boot), log.len()))
        );
        assert!(EventLog::parse(&memory).is_err());
    }
}

#[test]
fn published_lists_parse_and_round_trip() {
    let (Some(published), Some(hub)) = (vectors("measurements"), vectors("hub")) else {
        return;
    };
    let lists = std::fs::read_dir(published)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut types = std::collections::BTreeSet::new();
    for path in lists.chain([hub.join("get-measurements.json")]) {
        let entries = ReferenceValues::parse(&text(&path)).unwrap();
        assert!(entries.len() > 1, "{}", path.display());
        for entry in entries {
            types.insert(entry.attestation_type);
            assert_eq!(ReferenceValues::parse(&entry.to_json()).unwrap(), [entry]);
        }
    }
    assert_eq!(
        types.into_iter().collect::<Vec<_>>(),
        [AttestationType::AzureTdx, AttestationType::DcapTdx]
    );
}
