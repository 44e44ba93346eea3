//! UKIs whose memory would not be what is in the file are refused, and so are those that would
//! take much more memory than they are large.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod support;

use measurements::image::ImageError;
use measurements::{PeError, PeFileError, PredictError};
use support::{MemoryImage, Section, pe, section, uki_sections};

/// Where the section table of [`support::pe`] is, and fields of its entries.
const TABLE: usize = 0x58 + 240;
const VIRTUAL_SIZE: usize = 8;
const VIRTUAL_ADDRESS: usize = 12;
/// SizeOfImage, and the data directory of base relocations.
const SIZE_OF_IMAGE: usize = 0x58 + 56;
const RELOCATIONS: usize = 0x58 + 112 + 5 * 8;

fn at(name: &str, field: usize) -> usize {
    let index = uki_sections().iter().position(|s| s.name == name).unwrap();
    TABLE + index * 40 + field
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Opens a UKI, or says what is wrong with it as a PE.
fn parse(uki: Vec<u8>) -> Result<MemoryImage, PeError> {
    support::open(uki).map_err(|error| match error {
        ImageError::Pe {
            source: PeFileError::Pe(error),
            ..
        } => error,
        other => panic!("expected an error of the PE, got {other:?}"),
    })
}

/// Parses the usual UKI with one number in its headers changed.
fn parse_with(offset: usize, value: u32) -> Result<MemoryImage, PeError> {
    let mut uki = support::uki();
    put(&mut uki, offset, value);
    parse(uki)
}

#[test]
fn sections_over_each_other_are_refused() {
    let sbat = u32_at(&support::uki(), at(".sbat", VIRTUAL_ADDRESS));
    let error = parse_with(at(".cmdline", VIRTUAL_ADDRESS), sbat).unwrap_err();
    assert!(
        matches!(&error, PeError::Overlap { start, .. } if *start == sbat),
        "{error:?}"
    );
    // The section in front grows into the next one, by one byte.
    assert!(parse_with(at(".text", VIRTUAL_SIZE), 0x1000).is_ok());
    let error = parse_with(at(".text", VIRTUAL_SIZE), 0x1001).unwrap_err();
    let expected = PeError::Overlap {
        name: ".sdmagic".to_owned(),
        start: 0x2000,
        other: ".text".to_owned(),
    };
    assert_eq!(error, expected);
}

#[test]
fn section_without_virtual_size_counts_as_what_is_stored() {
    let mut uki = support::uki();
    let sbat = u32_at(&uki, at(".sbat", VIRTUAL_ADDRESS));
    put(&mut uki, at(".text", VIRTUAL_SIZE), 0);
    assert!(parse(uki.clone()).is_ok());
    put(&mut uki, at(".text", VIRTUAL_ADDRESS), sbat);
    assert!(matches!(parse(uki), Err(PeError::Overlap { .. })));
}

#[test]
fn section_over_the_headers_or_outside_of_the_image_is_refused() {
    let error = parse_with(at(".text", VIRTUAL_ADDRESS), 0x200).unwrap_err();
    assert!(
        matches!(&error, PeError::Overlap { other, .. } if other == "the headers"),
        "{error:?}"
    );
    let size = u32_at(&support::uki(), SIZE_OF_IMAGE);
    for (offset, value) in [
        (SIZE_OF_IMAGE, size - 0x1000),
        (at(".linux", VIRTUAL_ADDRESS), size),
        (at(".linux", VIRTUAL_ADDRESS), u32::MAX),
    ] {
        let error = parse_with(offset, value).unwrap_err();
        assert!(matches!(error, PeError::OutsideMemory { .. }), "{error:?}");
    }
}

/// A UKI with one block of relocations, of which one changes the byte at `offset` of a section.
fn relocated(name: &str, offset: u32, size: u32) -> Result<MemoryImage, PeError> {
    relocated_in(&uki_sections(), name, offset, size)
}

/// As [`relocated`], with these sections.
fn relocated_in(
    of: &[Section],
    name: &str,
    offset: u32,
    size: u32,
) -> Result<MemoryImage, PeError> {
    relocated_at(of, name, |target| target + offset, size)
}

/// As [`relocated`], with these sections, and an address made of the section's.
fn relocated_at(
    of: &[Section],
    name: &str,
    place: impl Fn(u32) -> u32,
    size: u32,
) -> Result<MemoryImage, PeError> {
    let block = |page: u32, fixup: u16| {
        let fixups = [fixup, 0].map(u16::to_le_bytes).concat();
        [&page.to_le_bytes()[..], &12u32.to_le_bytes(), &fixups].concat()
    };
    let sections = |block| [of.to_vec(), vec![section(".reloc", block)]].concat();
    let reloc = TABLE + of.len() * 40 + VIRTUAL_ADDRESS;
    let plain = pe(&sections(block(0, 0)), &[], &[]);
    let target = match name {
        "" => 0,
        ".reloc" => u32_at(&plain, reloc),
        name => {
            let index = of.iter().position(|s| s.name == name).unwrap();
            u32_at(&plain, TABLE + index * 40 + VIRTUAL_ADDRESS)
        }
    };
    let target = place(target);
    let fixup = 0xa000 | u16::try_from(target % 0x1000).unwrap();
    let mut uki = pe(&sections(block(target / 0x1000 * 0x1000, fixup)), &[], &[]);
    put(&mut uki, RELOCATIONS, u32_at(&plain, reloc));
    put(&mut uki, RELOCATIONS + 4, size);
    parse(uki)
}

#[test]
fn relocation_of_what_is_measured_is_refused() {
    assert!(relocated(".text", 8, 12).is_ok());
    for (name, offset) in [
        (".cmdline", 3),
        (".linux", 0),
        (".sdmagic", 40),
        (".reloc", 4),
        ("", 0x160),
    ] {
        let error = relocated(name, offset, 12).unwrap_err();
        assert!(
            matches!(&error, PeError::Relocation { name: changed, .. } if changed.ends_with(name)),
            "{name}: {error:?}"
        );
    }
    for size in [4, 11, 13, 5000] {
        let error = relocated(".text", 8, size).unwrap_err();
        assert!(
            matches!(error, PeError::RelocationTable { .. }),
            "{size}: {error:?}"
        );
    }
}

#[test]
fn section_whose_name_begins_as_that_of_measured_ones_is_not_relocated() {
    // A stub up to 255 takes it for `.linux`.
    let mut sections = uki_sections();
    for section in &mut sections {
        if section.name == ".uname" {
            section.name = ".linux.x".to_owned();
        }
    }
    let error = relocated_in(&sections, ".linux.x", 0, 12).unwrap_err();
    assert!(
        matches!(&error, PeError::Relocation { name, .. } if name == "section .linux.x"),
        "{error:?}"
    );
}

#[test]
fn relocation_around_a_small_section_is_refused() {
    // Three bytes of memory, of which neither the first nor the last byte of the fixup is one.
    let sections: Vec<_> = uki_sections()
        .into_iter()
        .map(|section| Section {
            virtual_size: (section.name == ".osrel").then_some(3),
            ..section
        })
        .collect();
    let refused = |before| {
        let target = |target: u32| target - before;
        match relocated_at(&sections, ".osrel", target, 12) {
            Err(PeError::Relocation { name, .. }) => name == "section .osrel",
            Err(other) => panic!("{other:?}"),
            Ok(_) => false,
        }
    };
    assert!(!refused(8));
    for before in 1..8 {
        assert!(refused(before), "{before}");
    }
}

#[test]
fn relocations_beyond_the_memory_of_their_section_are_refused() {
    let empty = [&0u32.to_le_bytes()[..], &8u32.to_le_bytes()].concat();
    let reloc = Section {
        virtual_size: Some(12),
        ..section(".reloc", empty.repeat(2))
    };
    let mut uki = pe(&[uki_sections(), vec![reloc]].concat(), &[], &[]);
    let address = TABLE + uki_sections().len() * 40 + VIRTUAL_ADDRESS;
    let address = u32_at(&uki, address);
    put(&mut uki, RELOCATIONS, address);
    put(&mut uki, RELOCATIONS + 4, 8);
    assert!(parse(uki.clone()).is_ok());
    // Stored are two blocks, of which a loader takes one and a half.
    put(&mut uki, RELOCATIONS + 4, 16);
    let error = parse(uki).unwrap_err();
    assert_eq!(error, PeError::RelocationTable { address, size: 16 });
}

#[test]
fn section_table_outside_of_the_headers_is_refused() {
    const SIZE_OF_HEADERS: usize = 0x58 + 60;
    let end = TABLE + uki_sections().len() * 40;
    let size = |size: usize| u32::try_from(size).unwrap();
    assert!(parse_with(SIZE_OF_HEADERS, size(end)).is_ok());
    let error = parse_with(SIZE_OF_HEADERS, size(end - 1)).unwrap_err();
    let (end, limit) = (end as u64, end as u64 - 1);
    assert_eq!(error, PeError::SectionTable { end, limit });
}

fn with_virtual_size(name: &str, virtual_size: u32) -> Vec<u8> {
    let resize = |section: Section| {
        let is_meant = section.name == name;
        Section {
            virtual_size: is_meant.then_some(virtual_size),
            ..section
        }
    };
    let sections: Vec<_> = uki_sections().into_iter().map(resize).collect();
    pe(&sections, &[], &[])
}

#[test]
fn small_file_with_large_sections_is_refused() {
    let uki = with_virtual_size(".linux", 1 << 30);
    let limit = uki.len() as u64 + (64 << 20);
    let error = parse(uki).unwrap_err();
    assert!(
        matches!(error, PeError::MemorySize { limit: l, .. } if l == limit),
        "{error:?}"
    );
    // Each alone would do, but not all together.
    let sections: Vec<_> = uki_sections()
        .into_iter()
        .map(|section| Section {
            virtual_size: Some(16 << 20),
            ..section
        })
        .collect();
    let error = parse(pe(&sections, &[], &[])).unwrap_err();
    assert!(matches!(error, PeError::MemorySize { .. }), "{error:?}");
}

#[test]
fn long_texts_are_refused() {
    for name in [".cmdline", ".osrel", ".uname"] {
        let predict_sized = |size| support::predict(with_virtual_size(name, size));
        assert!(predict_sized(1 << 20).is_ok(), "{name}");
        let error = predict_sized((1 << 20) + 1).unwrap_err();
        assert!(
            matches!(error, PredictError::SectionSize { section, .. } if section == name),
            "{error:?}"
        );
    }
}
