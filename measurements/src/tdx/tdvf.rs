//! Reads the metadata by which a TDX virtual firmware (TDVF) tells a host how to build a TD with it.
//!
//! Intel "TDX Virtual Firmware Design Guide" 1.01, "TDVF Metadata"; EDK II
//! `OvmfPkg/ResetVector/X64/IntelTdxMetadata.asm` for what is there, and QEMU `hw/i386/tdvf.c`,
//! `tdvf_parse_metadata`, for how a host reads it. Where hosts might differ the firmware is refused.
//!
//! I/O: none.

use super::guid_table::descriptor_offset;
use crate::bytes::{index, slice, u32_le, u64_le};

/// Largest firmware that is accepted. OVMF has 4 MiB.
pub const MAX_FIRMWARE_SIZE: usize = 64 << 20;

/// Bytes of a page that a host adds.
pub(super) const PAGE_SIZE: u16 = 4096;
const SIGNATURE: &[u8; 4] = b"TDVF";
const VERSION: u32 = 1;
const DESCRIPTOR_SIZE: usize = 16;
const SECTION_SIZE: usize = 32;
/// Most sections that are accepted. OVMF has 6.
const MAX_SECTIONS: u32 = 64;
/// Most memory that all sections have together. OVMF's have little more than the file.
const MAX_MEMORY: u64 = 256 << 20;
/// End of the private half of the largest guest-physical address space.
const MAX_ADDRESS: u64 = 1 << 51;
/// Attribute: the host measures the contents.
const EXTENDED: u32 = 1;

/// A TDX virtual firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tdvf<'a> {
    sections: Vec<Section<'a>>,
}

/// A part of a TD's memory that the host prepares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section<'a> {
    /// What it is for.
    pub kind: SectionKind,
    /// Where it begins, in the guest's physical memory; a multiple of 4096.
    pub address: u64,
    /// Bytes of memory; a multiple of 4096.
    pub size: u64,
    /// Its contents in the file; nothing if the host fills the memory.
    pub contents: &'a [u8],
    /// Whether MRTD holds the contents. It holds the address of every page in any case.
    pub is_measured: bool,
}

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionKind {
    /// Boot firmware volume: code.
    Code,
    /// Configuration firmware volume: variables. The firmware measures it to RTMR0.
    Variables,
    /// Trust domain hand-off blocks: the host writes the memory map there, which the firmware
    /// measures to RTMR0.
    HandOff,
    /// Zeros: stack and heap.
    Temporary,
}

/// Why a file is no TDX virtual firmware, or not one whose MRTD is known for certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TdvfError {
    /// The file is too large.
    #[error("expected a firmware of at most {MAX_FIRMWARE_SIZE} bytes, got {actual}")]
    TooLarge {
        /// Its bytes.
        actual: usize,
    },
    /// There is no table of GUIDs.
    #[error(
        "expected a table of GUIDs that ends 32 bytes before the end, as OVMF has; this is no TDX \
         virtual firmware (variables alone have none)"
    )]
    NoTable,
    /// The table is damaged.
    #[error("expected an entry of the GUID table to have 18 to {expected} bytes, got {actual}")]
    Table {
        /// Bytes that the table has from there on.
        expected: usize,
        /// Length of the entry.
        actual: usize,
    },
    /// The table does not lead to one descriptor.
    #[error(
        "expected one entry for TDX metadata in the GUID table, got {count}; this firmware is not \
         built for TDX"
    )]
    Metadata {
        /// How many there are.
        count: usize,
    },
    /// A number in the descriptor is wrong.
    #[error("expected {what} to be {expected}, got {actual}")]
    Descriptor {
        /// The number's name.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: u64,
    },
    /// A section is such that hosts refuse it, or treat it differently.
    #[error("expected {what} of section {number} to be {expected}, got {actual:#x}")]
    Section {
        /// Which one, from 0.
        number: usize,
        /// The field's name.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: u64,
    },
    /// A section's contents are not in the file.
    #[error(
        "section {number} ends at byte {end} of the firmware, which has only {size}; give the whole \
         firmware, not its code (OVMF_CODE) alone"
    )]
    OutOfFile {
        /// Which one, from 0.
        number: usize,
        /// Where it should end.
        end: u64,
        /// The file's bytes.
        size: usize,
    },
    /// Two sections are in the same memory.
    #[error("sections {first} and {second} overlap in memory")]
    Overlap {
        /// The earlier one, from 0.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// MRTD would say nothing on the firmware.
    #[error("expected a measured section with code, got none")]
    NothingMeasured,
}

impl<'a> Tdvf<'a> {
    /// Parses a firmware, the whole file. It need not be trusted.
    ///
    /// # Errors
    ///
    /// [`TdvfError`] if this is no TDX virtual firmware, or one that hosts would treat differently.
    pub fn parse(firmware: &'a [u8]) -> Result<Self, TdvfError> {
        let actual = firmware.len();
        if actual > MAX_FIRMWARE_SIZE {
            return Err(TdvfError::TooLarge { actual });
        }
        let entries = section_entries(firmware, descriptor_offset(firmware)?)?;
        let mut sections: Vec<Section<'a>> = Vec::new();
        let mut memory = 0u64;
        for (second, entry) in entries.chunks_exact(SECTION_SIZE).enumerate() {
            let section = Section::parse(firmware, second, entry)?;
            memory = memory.saturating_add(section.size);
            if memory > MAX_MEMORY {
                return Err(TdvfError::Descriptor {
                    what: "the memory of all sections",
                    expected: format!("at most {MAX_MEMORY} bytes"),
                    actual: memory,
                });
            }
            if let Some(first) = sections.iter().position(|other| other.overlaps(&section)) {
                return Err(TdvfError::Overlap { first, second });
            }
            sections.push(section);
        }
        let is_code = |section: &Section| section.kind == SectionKind::Code && section.is_measured;
        if !sections.iter().any(is_code) {
            return Err(TdvfError::NothingMeasured);
        }
        Ok(Self { sections })
    }

    /// The sections, in the order in which a host adds them.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }
}

/// Checks the descriptor and returns the sections' entries.
fn section_entries(firmware: &[u8], offset: usize) -> Result<&[u8], TdvfError> {
    let wrong = |what, expected: &dyn std::fmt::Display, actual: u64| TdvfError::Descriptor {
        what,
        expected: expected.to_string(),
        actual,
    };
    let signature = slice(firmware, offset, SIGNATURE.len());
    if signature != Some(SIGNATURE) {
        let signature = u32_le(firmware, offset).unwrap_or_default();
        let expected = u32::from_le_bytes(*SIGNATURE);
        return Err(wrong(
            "the descriptor's signature",
            &expected,
            signature.into(),
        ));
    }
    let field = |skip| {
        let at = offset.checked_add(skip);
        at.and_then(|at| u32_le(firmware, at)).unwrap_or_default()
    };
    let (length, version, count) = (field(4), field(8), field(12));
    if version != VERSION {
        return Err(wrong("the descriptor's version", &VERSION, version.into()));
    }
    if !(1..=MAX_SECTIONS).contains(&count) {
        let expected = format!("1 to {MAX_SECTIONS}");
        return Err(wrong("the number of sections", &expected, count.into()));
    }
    let size = index(count).saturating_mul(SECTION_SIZE);
    let expected = size.saturating_add(DESCRIPTOR_SIZE);
    if index(length) != expected {
        return Err(wrong("the descriptor's length", &expected, length.into()));
    }
    offset
        .checked_add(DESCRIPTOR_SIZE)
        .and_then(|start| slice(firmware, start, size))
        .ok_or_else(|| wrong("the descriptor's end", &"in the firmware", offset as u64))
}

impl<'a> Section<'a> {
    /// Parses an entry, which has [`SECTION_SIZE`] bytes so that every field is there.
    fn parse(firmware: &'a [u8], number: usize, entry: &[u8]) -> Result<Self, TdvfError> {
        let wide = |offset| u64_le(entry, offset).unwrap_or_default();
        let narrow = |offset| u32_le(entry, offset).unwrap_or_default();
        let (offset, raw_size) = (narrow(0), narrow(4));
        let (address, size) = (wide(8), wide(16));
        let (kind, attributes) = (narrow(24), narrow(28));
        let kind = SectionKind::from_number(kind).ok_or(TdvfError::Section {
            number,
            what: "the type",
            expected: "0 to 3",
            actual: kind.into(),
        })?;
        let is_measured = attributes == EXTENDED;
        let is_filled = kind.is_filled_by_host();
        let in_pages = |value: u64| value.is_multiple_of(PAGE_SIZE.into());
        let is_sensible = (1..=MAX_MEMORY).contains(&size);
        let is_private = address
            .checked_add(size)
            .is_some_and(|end| end <= MAX_ADDRESS);
        let (offset, raw_size, attributes) = (offset.into(), raw_size.into(), attributes.into());

        #[rustfmt::skip]
        let checks = [
            (in_pages(address), "the address", "a multiple of 4096", address),
            (in_pages(size) && is_sensible, "the memory's size", "4096 to 256 MiB, in pages", size),
            (is_private, "the address", "in the guest's private memory", address),
            // Attribute 2, pages that the guest accepts later, is not in OVMF, and hosts differ.
            (attributes <= EXTENDED.into(), "the attributes", "0 or 1", attributes),
            // What the host writes there is not known.
            (!is_filled || !is_measured, "the attributes", "0 for its type", attributes),
            (!is_filled || raw_size == 0, "the size in the file", "0 for its type", raw_size),
            // In larger memory hosts differ, too: zeros follow, or what follows in the file.
            (is_filled || raw_size == size, "the size in the file", "the memory's", raw_size),
            (is_filled || in_pages(offset), "the offset", "a multiple of 4096", offset),
        ];
        if let Some((_, what, expected, actual)) = checks.into_iter().find(|check| !check.0) {
            return Err(TdvfError::Section {
                number,
                what,
                expected,
                actual,
            });
        }
        let contents = if is_filled {
            &[]
        } else {
            slice(firmware, index(narrow(0)), index(narrow(4))).ok_or(TdvfError::OutOfFile {
                number,
                end: offset.saturating_add(raw_size),
                size: firmware.len(),
            })?
        };
        Ok(Self {
            kind,
            address,
            size,
            contents,
            is_measured,
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |section: &Self| section.address.saturating_add(section.size);
        self.address < end(other) && other.address < end(self)
    }
}

impl SectionKind {
    fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Code),
            1 => Some(Self::Variables),
            2 => Some(Self::HandOff),
            3 => Some(Self::Temporary),
            _ => None,
        }
    }

    fn is_filled_by_host(self) -> bool {
        matches!(self, Self::HandOff | Self::Temporary)
    }
}
