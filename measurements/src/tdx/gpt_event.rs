//! The bytes that firmware measures of a partition table: UEFI_GPT_DATA.
//!
//! TCG PC Client Platform Firmware Profile 1.06, "UEFI_GPT_DATA Structure"; EDK II
//! `SecurityPkg/Library/DxeTpm2MeasureBootLib/DxeTpm2MeasureBootLib.c`, `Tcg2MeasureGptTable`, and
//! the checks in its `DxeTpm2MeasureBootLibSanitization.c`, `Tpm2SanitizeEfiPartitionTableHeader`.
//!
//! They are the image's only as long as nobody writes the table anew. The header says where the
//! disk ends (backup table, last usable block), so a table that was fitted to a larger disk, or a
//! partition that was added or grown, measures differently at the next boot.
//!
//! Left out: whether the checksums are right, which reading the disk has found out before.
//!
//! I/O: none.

use crate::bytes::{index, slice, u32_le, u64_le};

/// `sizeof (EFI_PARTITION_TABLE_HEADER)`: what is measured of the header, whatever its HeaderSize.
const HEADER_SIZE: usize = 92;
/// Largest logical block, which holds the header.
const MAX_BLOCK_SIZE: usize = 4096;
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// `GPT_HEADER_REVISION_V1`.
const REVISION: u32 = 0x0001_0000;
/// Bytes of an entry: 128, or a power of two times that. More than this nobody uses.
const ENTRY_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// Most entries that are read. Every partitioning tool writes 128.
const MAX_ENTRIES: u32 = 1024;
/// PartitionTypeGUID of an entry without a partition.
const UNUSED: [u8; 16] = [0; 16];

/// Why firmware would not measure this partition table, or not as expected here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GptEventError {
    /// What was given as header is none.
    #[error("expected a GPT header of 92 to 4096 bytes that begins with \"EFI PART\"")]
    NoHeader,
    /// A field of the header has a value with which firmware refuses the table.
    #[error("expected {what} to be {expected}, got {actual}")]
    Field {
        /// The field's name.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: u64,
    },
    /// The entries are not as many bytes as the header says.
    #[error("expected {expected} bytes of partition entries, got {actual}")]
    Entries {
        /// Entries times size of an entry.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
}

/// Returns what firmware measures of the partition table of the disk that it boots from: the
/// header's first 92 bytes, how many entries are used, and these entries.
///
/// `header` begins with the primary header, at most the block it is in; `entries` are all of its
/// partition entries. Neither needs to be trusted. Firmware measures this to PCR 5, or RTMR1.
///
/// # Errors
///
/// [`GptEventError`] if firmware would not measure the table.
pub fn gpt_event(header: &[u8], entries: &[u8]) -> Result<Vec<u8>, GptEventError> {
    let measured = slice(header, 0, HEADER_SIZE)
        .filter(|header_start| header_start.starts_with(SIGNATURE))
        .filter(|_| header.len() <= MAX_BLOCK_SIZE)
        .ok_or(GptEventError::NoHeader)?;
    let entry_size = checked_entry_size(measured, entries.len())?;

    let used = entries
        .chunks_exact(entry_size)
        .filter(|entry| !entry.starts_with(&UNUSED));
    // A UINTN, of a 64-bit firmware.
    let count = used.clone().count() as u64;
    Ok(measured
        .iter()
        .chain(&count.to_le_bytes())
        .chain(used.flatten())
        .copied()
        .collect())
}

/// Returns an entry's size, after the checks that firmware makes.
fn checked_entry_size(header: &[u8], entries: usize) -> Result<usize, GptEventError> {
    // The fields are all in the 92 bytes that the caller has.
    let field = |offset| u32_le(header, offset).unwrap_or_default();
    let wide = |offset| u64_le(header, offset).unwrap_or_default();
    let (revision, size) = (field(8), field(12));
    let (first_usable, entries_block) = (wide(40), wide(72));
    let (count, entry_size) = (field(80), field(84));

    let size_fits = (HEADER_SIZE..=MAX_BLOCK_SIZE).contains(&index(size));
    let count_fits = (1..=MAX_ENTRIES).contains(&count);
    let is_behind = first_usable > entries_block;
    let is_known = ENTRY_SIZES.contains(&entry_size);
    #[rustfmt::skip]
    let checks = [
        (revision == REVISION, "the header's revision", "1.0 (65536)", revision.into()),
        (size_fits, "the header's size", "92 to one block", size.into()),
        (is_behind, "the first usable block", "behind the partition entries", first_usable),
        (count_fits, "the number of entries", "1 to 1024", count.into()),
        (is_known, "an entry's size", "128, 256, 512 or 1024", entry_size.into()),
    ];
    if let Some((_, what, expected, actual)) = checks.into_iter().find(|check| !check.0) {
        return Err(GptEventError::Field {
            what,
            expected,
            actual,
        });
    }
    let expected = index(count).saturating_mul(index(entry_size));
    if entries != expected {
        let actual = entries;
        return Err(GptEventError::Entries { expected, actual });
    }
    Ok(index(entry_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(SIGNATURE);
        header[8..12].copy_from_slice(&REVISION.to_le_bytes());
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[40..48].copy_from_slice(&34u64.to_le_bytes());
        header[72..80].copy_from_slice(&2u64.to_le_bytes());
        header[80..84].copy_from_slice(&4u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[100] = 0xff;
        header
    }

    #[test]
    fn used_entries_follow_the_header_and_their_number() {
        let mut entries = vec![0; 4 * 128];
        entries[0] = 1;
        // An entry without a type is unused, whatever else it has.
        entries[128 + 16] = 2;
        entries[2 * 128 + 15] = 3;
        let event = gpt_event(&header(), &entries).unwrap();
        assert_eq!(event[..92], header()[..92]);
        assert_eq!(event[92..100], 2u64.to_le_bytes());
        assert_eq!(event[100..228], entries[..128]);
        assert_eq!(event[228..], entries[256..384]);
    }

    #[test]
    fn table_without_partitions_is_header_and_zero() {
        let event = gpt_event(&header(), &[0; 512]).unwrap();
        assert_eq!(event, [&header()[..92], &[0; 8]].concat());
    }

    #[test]
    fn what_firmware_refuses_is_refused() {
        let event = |offset: usize, value: u8| {
            let mut header = header();
            header[offset] = value;
            gpt_event(&header, &[0; 512])
        };
        assert_eq!(event(0, b'e'), Err(GptEventError::NoHeader));
        let field = |result| match result {
            Err(GptEventError::Field { what, actual, .. }) => (what, actual),
            other => panic!("{other:?}"),
        };
        assert_eq!(field(event(10, 2)), ("the header's revision", 0x20000));
        assert_eq!(field(event(12, 91)), ("the header's size", 91));
        assert_eq!(field(event(40, 2)), ("the first usable block", 2));
        assert_eq!(field(event(80, 0)), ("the number of entries", 0));
        assert_eq!(field(event(82, 1)), ("the number of entries", 65540));
        assert_eq!(field(event(84, 0)), ("an entry's size", 0));
        assert_eq!(field(event(84, 129)), ("an entry's size", 129));
        let wrong = |expected, actual| Err(GptEventError::Entries { expected, actual });
        assert_eq!(event(80, 5), wrong(640, 512));
        assert_eq!(gpt_event(&header(), &[]), wrong(512, 0));
        assert_eq!(
            gpt_event(&header()[..91], &[0; 512]),
            Err(GptEventError::NoHeader)
        );
        assert_eq!(gpt_event(&[], &[]), Err(GptEventError::NoHeader));
    }
}
