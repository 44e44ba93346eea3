//! Finds the partitions of an image, as far as tampering with them needs.
//!
//! Deliberately not the parser of `measurements`, which is what is tested: this one trusts the
//! image. UEFI Specification 2.10, 5.3.
//!
//! I/O: reads the image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::TamperError;

/// EFI System Partition, as the bytes on disk.
pub const ESP: Type = Type(
    "EFI System Partition",
    [
        0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9,
        0x3B,
    ],
);
/// The root partition of x86-64: Discoverable Partitions Specification, 4f68bce3-….
pub const ROOT: Type = Type(
    "x86-64 root",
    [
        0xE3, 0xBC, 0x68, 0x4F, 0xCD, 0xE8, 0xB1, 0x4D, 0x96, 0xE7, 0xFB, 0xCA, 0xF9, 0x84, 0xB7,
        0x09,
    ],
);
/// The hash tree of the root partition of x86-64: 2c7357ed-….
pub const ROOT_VERITY: Type = Type(
    "x86-64 root verity",
    [
        0xED, 0x57, 0x73, 0x2C, 0xD2, 0xEB, 0xD9, 0x46, 0xAE, 0xC1, 0x23, 0xD4, 0x37, 0xEC, 0x2B,
        0xF5,
    ],
);

const SECTOR: u64 = 512;
const ENTRY: usize = 128;

/// A partition type: its name for people, and its GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type(&'static str, [u8; 16]);

/// Where a partition lies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// Finds the first partition of type `wanted`.
///
/// # Errors
///
/// [`TamperError::NoPartition`] if there is none.
pub fn find(image: &Path, wanted: Type) -> Result<Partition, TamperError> {
    let mut file = File::open(image)?;
    find_in(&mut file, wanted)
}

/// Reads the block with the primary header, and all partition entries.
///
/// # Errors
///
/// [`TamperError::Io`] if the image ends before.
pub fn table(image: &Path) -> Result<(Vec<u8>, Vec<u8>), TamperError> {
    let mut file = File::open(image)?;
    let header = read_at(&mut file, SECTOR, 512)?;
    let entries = read_entries(&mut file, &header)?;
    Ok((header, entries))
}

fn find_in(image: &mut (impl Read + Seek), wanted: Type) -> Result<Partition, TamperError> {
    let header = read_at(image, SECTOR, 92)?;
    let entries = read_entries(image, &header)?;
    for entry in entries.chunks_exact(ENTRY) {
        if entry.starts_with(&wanted.1) {
            let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
            return Ok(Partition {
                offset: first * SECTOR,
                length: (last + 1).saturating_sub(first) * SECTOR,
            });
        }
    }
    Err(TamperError::NoPartition(wanted.0))
}

fn read_entries(image: &mut (impl Read + Seek), header: &[u8]) -> Result<Vec<u8>, TamperError> {
    let table = u64_at(header, 72)?;
    let count = usize::try_from(u32_at(header, 80)?.min(128)).unwrap_or(0);
    Ok(read_at(image, table * SECTOR, count * ENTRY)?)
}

fn read_at(image: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    image.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length];
    image.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, TamperError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|chunk| u64::from_le_bytes(*chunk))
        .ok_or(TamperError::NothingThere("the partition table is short"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, TamperError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|chunk| u32::from_le_bytes(*chunk))
        .ok_or(TamperError::NothingThere("the partition table is short"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn image() -> Vec<u8> {
        let mut image = vec![0; 34 * 512];
        image[512 + 72] = 2; // the table's sector
        image[512 + 80] = 128; // entries
        let entry = 1024 + ENTRY;
        image[entry..entry + 16].copy_from_slice(&ROOT.1);
        image[entry + 32] = 100;
        image[entry + 40] = 107;
        image
    }

    #[test]
    fn partition_is_found_by_type() {
        let found = find_in(&mut Cursor::new(image()), ROOT).unwrap();
        let expected = Partition {
            offset: 100 * 512,
            length: 8 * 512,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn missing_partition_is_named() {
        let error = find_in(&mut Cursor::new(image()), ESP).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no partition of type EFI System Partition"
        );
    }
}
