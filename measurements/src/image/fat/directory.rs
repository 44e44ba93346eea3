//! Directory entries with short and long names.
//!
//! I/O: none.

use crate::bytes::{array, u8_at, u16_le, u32_le};

const ENTRY_SIZE: usize = 32;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_VOLUME_LABEL: u8 = 0x08;
/// Read-only, hidden, system and volume label together: part of a long name.
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
/// Flag of the entry that holds the end of a long name, which comes first.
const LAST_LONG_ENTRY: u8 = 0x40;
/// A long name has at most 20 parts of 13 characters.
const MAX_LONG_ENTRIES: u8 = 20;

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) short_name: String,
    pub(super) long_name: Option<String>,
    pub(super) first_cluster: u32,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File { size: u32 },
    Directory,
}

impl Entry {
    /// Compares both names without regard to ASCII case, as firmware does.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let long = self.long_name.as_deref().unwrap_or_default();
        self.short_name.eq_ignore_ascii_case(name) || long.eq_ignore_ascii_case(name)
    }
}

/// Parses a directory's entries up to its end. Deleted entries, volume labels, and parts of long
/// names without their entry are passed over, as every reader of FAT does.
pub(super) fn parse(directory: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut long_name = LongName::default();
    for entry in directory.chunks_exact(ENTRY_SIZE) {
        let first = u8_at(entry, 0).unwrap_or_default();
        let attributes = u8_at(entry, 11).unwrap_or_default();
        if first == 0 {
            break;
        }
        if first == 0xe5 {
            long_name = LongName::default();
        } else if attributes & 0x3f == ATTRIBUTE_LONG_NAME {
            long_name.push(entry);
        } else {
            let name = std::mem::take(&mut long_name);
            if attributes & ATTRIBUTE_VOLUME_LABEL == 0 {
                entries.extend(parse_short(entry, attributes, name));
            }
        }
    }
    entries
}

fn parse_short(entry: &[u8], attributes: u8, long_name: LongName) -> Option<Entry> {
    let mut name: [u8; 11] = array(entry, 0)?;
    let checksum = checksum(&name);
    // 0x05 stands for 0xe5, which would mean "deleted".
    if let [first @ 0x05, ..] = &mut name {
        *first = 0xe5;
    }
    let (base, extension) = name.split_at(8);
    let text = |part: &[u8]| {
        part.iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    let (base, extension) = (text(base), text(extension));
    let dot = if extension.is_empty() { "" } else { "." };
    let high = u32::from(u16_le(entry, 20)?);
    let low = u32::from(u16_le(entry, 26)?);
    Some(Entry {
        short_name: format!("{base}{dot}{extension}"),
        long_name: long_name.finish(checksum),
        first_cluster: (high << 16) | low,
        kind: if attributes & ATTRIBUTE_DIRECTORY == 0 {
            Kind::File {
                size: u32_le(entry, 28)?,
            }
        } else {
            Kind::Directory
        },
    })
}

/// "ChkSum": ties the parts of a long name to their short name.
fn checksum(short_name: &[u8; 11]) -> u8 {
    short_name
        .iter()
        .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A long name on its way: its parts come last first, numbered down to 1.
#[derive(Debug, Default)]
struct LongName {
    parts: Vec<[u16; 13]>,
    checksum: u8,
    /// Number of the part that comes next; 0 when the name is complete or there is none.
    next: u8,
}

impl LongName {
    fn push(&mut self, entry: &[u8]) {
        let order = u8_at(entry, 0).unwrap_or_default();
        let checksum = u8_at(entry, 13).unwrap_or_default();
        let number = order & !LAST_LONG_ENTRY;
        if order & LAST_LONG_ENTRY != 0 && (1..=MAX_LONG_ENTRIES).contains(&number) {
            *self = Self {
                parts: Vec::new(),
                checksum,
                next: number,
            };
        }
        let is_expected = self.next != 0 && self.next == number && self.checksum == checksum;
        if !is_expected {
            *self = Self::default();
            return;
        }
        let offsets = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain((28..32).step_by(2));
        let mut part = [0; 13];
        for (unit, offset) in part.iter_mut().zip(offsets) {
            *unit = u16_le(entry, offset).unwrap_or_default();
        }
        self.parts.push(part);
        self.next = self.next.saturating_sub(1);
    }

    fn finish(self, checksum: u8) -> Option<String> {
        if self.parts.is_empty() || self.next != 0 || self.checksum != checksum {
            return None;
        }
        let units = self.parts.iter().rev().flatten().copied();
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        Some(String::from_utf16_lossy(&units))
    }
}
