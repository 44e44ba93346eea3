//! No input makes a parser panic, and damage does not go unnoticed.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failing test")]

mod support;

use std::sync::LazyLock;

use measurements::event_log::EventLog;
use measurements::reference::ReferenceValues;
use proptest::prelude::*;
use proptest::sample::Index;

static UKI: LazyLock<Vec<u8>> = LazyLock::new(support::uki);
static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| support::vhd(support::disk(&UKI)));

/// Changes bytes at random places, most of them among the first: headers.
fn mutate(bytes: &mut [u8], changes: &[(Index, u8)], within: usize) {
    for (index, value) in changes {
        let at = index.index(within.min(bytes.len()));
        bytes[at] = *value;
    }
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>()), 1..12)
}

fn predict_all(bytes: Vec<u8>) {
    if let Ok(mut image) = support::open(bytes) {
        let _ = measurements::predict(&mut image);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        predict_all(bytes.clone());
        let _ = EventLog::parse(&bytes);
        let _ = EventLog::parse_prefix(&bytes);
        let _ = ReferenceValues::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mutated_uki(changes in changes(), within in prop_oneof![Just(1024), Just(usize::MAX)]) {
        let mut uki = UKI.clone();
        mutate(&mut uki, &changes, within);
        predict_all(uki);
    }

    #[test]
    fn mutated_file_system(changes in changes(), within in prop_oneof![Just(64), Just(16_384)]) {
        let mut esp = support::esp(&UKI);
        mutate(&mut esp, &changes, within);
        predict_all(support::gpt(512, &[(support::ESP_TYPE, &esp)]));
    }

    #[test]
    fn mutated_disk(changes in changes(), within in prop_oneof![Just(2048), Just(20_000)]) {
        let mut disk = DISK.clone();
        mutate(&mut disk, &changes, within);
        predict_all(disk);
    }

    #[test]
    fn any_changed_byte_of_a_measured_section_changes_its_register(
        index in any::<Index>(), flip in 1..=255u8,
    ) {
        let sections = support::uki_sections();
        let name = &sections[index.index(5) + 2].name;
        let mut changed = sections.clone();
        let data = &mut changed.iter_mut().find(|s| s.name == *name).unwrap().data;
        let at = index.index(data.len());
        data[at] ^= flip;
        let before = support::predict(support::pe(&sections, &[], &[])).unwrap();
        if let Ok(after) = support::predict(support::pe(&changed, &[], &[])) {
            prop_assert_ne!(before.registers[&4].value, after.registers[&4].value);
            prop_assert_ne!(before.registers[&11].value, after.registers[&11].value);
        }
    }

    #[test]
    fn reference_values_round_trip(
        id in "[ -~]{0,20}",
        values in prop::collection::btree_map(0..=23u8, prop::collection::vec(any::<[u8; 32]>(), 1..3), 1..5),
    ) {
        use measurements::reference::{AttestationType, RegisterValue};
        let value = |bytes| RegisterValue::Sha256(measurements::Digest(bytes));
        let reference = ReferenceValues {
            measurement_id: id,
            attestation_type: AttestationType::AzureTdx,
            registers: values
                .into_iter()
                .map(|(index, values)| (index, values.into_iter().map(value).collect()))
                .collect(),
        };
        prop_assert_eq!(ReferenceValues::parse(&reference.to_json()).unwrap(), [reference]);
    }
}
