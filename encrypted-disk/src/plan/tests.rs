use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::inspect::{Signature, look};
use crate::layout::Slot;
use crate::luks;

fn blank() -> Inspection {
    Inspection {
        bytes: 1 << 30,
        is_read_only: false,
        unreadable: None,
        luks: Vec::new(),
        records: Vec::new(),
        signatures: Vec::new(),
        data: None,
    }
}

fn signature(kind: &str, offset: Option<u64>) -> Signature {
    let kind = kind.to_owned();
    Signature { kind, offset }
}

fn refusal(seen: &Inspection) -> Refusal {
    match plan(seen) {
        Plan::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn blank_disk_is_formatted_and_ours_is_opened() {
    assert_eq!(plan(&blank()), Plan::Format);
    for records in [vec![Slot::A], vec![Slot::B], Slot::ALL.to_vec()] {
        let ours = Inspection {
            luks: vec![0, 0x4000],
            signatures: vec![signature("crypto_LUKS", Some(0))],
            data: Some(0),
            records,
            ..blank()
        };
        assert_eq!(plan(&ours), Plan::Open);
    }
}

#[test]
fn ciphertext_that_looks_like_something_is_still_ours() {
    let mut ours = Inspection {
        records: vec![Slot::A],
        data: Some(0),
        signatures: vec![signature("linux_raid_member", Some((1 << 30) - 4096))],
        ..blank()
    };
    assert_eq!(plan(&ours), Plan::Open);
    assert_eq!(doubt(&ours), None);
    // Where the headers are, it is not ours; the key may know better.
    ours.signatures.push(signature("ext4", Some(1080)));
    let kind = "ext4".to_owned();
    let offset = Some(1080);
    assert_eq!(plan(&ours), Plan::Open);
    assert_eq!(doubt(&ours), Some(Refusal::Foreign { kind, offset }));
}

#[test]
fn each_reason_is_said() {
    let seen = Inspection {
        bytes: 1 << 20,
        ..blank()
    };
    assert_eq!(refusal(&seen), Refusal::Small { actual: 1 << 20 });
    let bytes = (1 << 30) + 512;
    let seen = Inspection { bytes, ..blank() };
    assert_eq!(refusal(&seen), Refusal::Uneven { actual: bytes });
    let seen = Inspection {
        is_read_only: true,
        ..blank()
    };
    assert_eq!(refusal(&seen), Refusal::ReadOnly);
    let seen = Inspection {
        unreadable: Some(5),
        ..blank()
    };
    assert_eq!(refusal(&seen), Refusal::Unreadable { offset: 5 });
    let seen = Inspection {
        luks: vec![0x4000],
        data: Some(0),
        ..blank()
    };
    assert_eq!(refusal(&seen), Refusal::ForeignLuks { offset: 0x4000 });
    let seen = Inspection {
        data: Some(7 << 20),
        ..blank()
    };
    assert_eq!(refusal(&seen), Refusal::NotBlank { offset: 7 << 20 });
    let seen = Inspection {
        signatures: vec![signature("gpt", None)],
        ..blank()
    };
    let text = refusal(&seen).to_string();
    assert_eq!(text, "the disk has foreign data: gpt");
}

prop_compose! {
    fn inspections()(
        bytes in prop_oneof![any::<u64>(), Just(1 << 30)],
        is_read_only in any::<bool>(),
        unreadable in option::of(any::<u64>()),
        luks in vec(any::<u64>(), 0..3),
        records in subsequence(Slot::ALL.to_vec(), 0..=2),
        kinds in vec(("crypto_LUKS|ext4|gpt", option::of(any::<u64>())), 0..3),
        data in option::of(any::<u64>()),
    ) -> Inspection {
        let signatures = kinds.iter().map(|(kind, offset)| signature(kind, *offset)).collect();
        Inspection { bytes, is_read_only, unreadable, luks, records, signatures, data }
    }
}

proptest! {
    #[test]
    fn nothing_but_blank_is_formatted(seen in inspections()) {
        let is_blank = seen == Inspection { bytes: seen.bytes, ..blank() };
        prop_assert!(plan(&seen) != Plan::Format || is_blank);
        // And what is written over by a repair is ours alone.
        prop_assert!(plan(&seen) != Plan::Open || !seen.records.is_empty());
    }

    #[test]
    fn disk_with_any_magic_is_not_formatted(
        place in 0..luks::SECOND_OFFSETS.len() + 3,
    ) {
        let bytes = 128_u64 << 20;
        let mut disk = vec![0; bytes as usize];
        let (offset, magic): (u64, &[u8]) = match luks::SECOND_OFFSETS.get(place) {
            Some(offset) => (*offset, &luks::SECOND_MAGIC),
            None if place == luks::SECOND_OFFSETS.len() => (0, &luks::MAGIC),
            None if place == luks::SECOND_OFFSETS.len() + 1 => (Slot::A.record(), b"cvm-disk"),
            None => (Slot::B.record(), b"cvm-disk"),
        };
        disk[offset as usize..][..magic.len()].copy_from_slice(magic);
        let seen = look(&mut std::io::Cursor::new(disk), bytes);
        prop_assert_ne!(plan(&seen), Plan::Format);
    }
}
