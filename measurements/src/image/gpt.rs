//! Reads a GUID partition table, and finds the EFI system partition in it.
//!
//! Follows UEFI 2.10, 5.3 "GUID Partition Table (GPT) Disk Layout": primary header in the second
//! block, both checksums verified, behind a protective MBR as 5.2.3 has it. The backup table is not
//! read: firmware measures and boots from the primary one. Disks on which firmware might find
//! something else to boot are refused: a second table, or FAT outside of the EFI system partition.
//!
//! I/O: reads the protective MBR, the header, the partition entries, and each partition's first
//! 512 bytes.

use std::fmt;
use std::io::{Read, Seek};

use super::crc32::crc32;
use super::fat::is_boot_sector;
use super::window::Window;
use crate::bytes::{array, index, slice, u16_le, u32_le, u64_le};
use crate::source::ReadError;

/// Sizes of a logical block that disks have.
const BLOCK_SIZES: [u64; 2] = [512, 4096];
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Bytes of a header of revision 1.0, and how far the block may be used.
const HEADER_SIZE: u32 = 92;
/// Bytes of an entry: 128, or a power of two times that. More than this nobody uses.
const ENTRY_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// Most entries that are read. Every partitioning tool writes 128.
const MAX_ENTRIES: u32 = 1024;
/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it is on disk.
const ESP_TYPE: Guid = Guid([
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
]);

/// Type of an entry without a partition.
const UNUSED_TYPE: [u8; 16] = [0; 16];
/// Bytes of a master boot record, and of a boot sector as far as it matters.
const MBR_SIZE: u64 = 512;

/// Where the volume descriptors of ISO 9660 and UDF begin, after the descriptor's type, and what
/// they can be: ECMA-119, 8.1; ECMA-167, part 2, 9.1.
const VOLUME_DESCRIPTOR: u64 = 0x8001;
const VOLUME_IDENTIFIERS: [&[u8]; 4] = [b"CD001", b"BEA01", b"NSR02", b"NSR03"];

/// Why a partition table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GptError {
    /// The image could not be read.
    #[error("the partition table cannot be read")]
    Read(#[from] ReadError),
    /// There is no table.
    #[error("expected the signature \"EFI PART\" at byte 512 or 4096, got something else")]
    NoTable,
    /// There are two tables: which one counts depends on the size of the disk's blocks.
    #[error(
        "the signature \"EFI PART\" is at byte 512 and at byte 4096, expected it at one of them"
    )]
    SeveralTables,
    /// Without a protective MBR firmware does not look at the table.
    #[error("expected {expected} in the protective MBR (the disk's first 512 bytes), got {actual}")]
    ProtectiveMbr {
        /// What should be there.
        expected: &'static str,
        /// What is there: bytes in hexadecimal.
        actual: String,
    },
    /// Firmware might start a file from there.
    #[error("{place} begins with a FAT boot sector, expected one in the EFI system partition only")]
    OtherFat {
        /// Where: the disk itself, or a partition by its number.
        place: String,
    },
    /// There is something inside of a partition in which firmware might find a file to start.
    #[error("partition {number} holds {what}, expected its own contents only")]
    Nested {
        /// The partition's number.
        number: u32,
        /// What is there.
        what: &'static str,
    },
    /// Firmware would not take the partition.
    #[error("partition {number} overlaps another, or lies outside of the usable blocks")]
    Placement {
        /// The partition's number.
        number: u32,
    },
    /// A checksum is wrong.
    #[error("expected the checksum of the {what} to be {expected:#010x}, got {actual:#010x}")]
    Checksum {
        /// Of what.
        what: &'static str,
        /// Computed.
        expected: u32,
        /// Written in the header.
        actual: u32,
    },
    /// A number in the table is outside of what the specification or common sense allows.
    #[error("expected {what} to be {expected}, got {actual}")]
    Field {
        /// The number's name.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: u64,
    },
    /// Nothing to boot from, or several partitions that firmware could choose from.
    #[error("expected exactly one EFI system partition, got {count}")]
    EspCount {
        /// How many there are.
        count: usize,
    },
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number, as systems count them: the place of its entry, from 1 on.
    pub number: u32,
    /// What kind of partition it is.
    pub type_id: Guid,
    /// The one of this partition.
    pub unique_id: Guid,
    /// Its name; what is not UTF-16 is replaced.
    pub name: String,
    /// Its first byte on the disk.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A GUID, in the byte order that it has on disk; as text it is the usual form in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

/// A partition table, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gpt {
    /// The primary header, all of its HeaderSize bytes.
    pub(crate) header: Vec<u8>,
    /// The array of entries, used and unused.
    pub(crate) entries: Vec<u8>,
    /// The used entries, in order.
    pub(crate) partitions: Vec<Partition>,
}

/// Says whether there is a GPT at all, for any block size.
pub(super) fn is_disk<R: Read + Seek>(disk: &mut Window<'_, R>) -> Result<bool, ReadError> {
    Ok(block_size(disk)?.is_some())
}

/// Reads the table.
///
/// # Errors
///
/// [`GptError`] if the table is damaged, there is not exactly one EFI system partition, or firmware
/// might find something else to boot.
pub(super) fn read<R: Read + Seek>(disk: &mut Window<'_, R>) -> Result<Gpt, GptError> {
    let block = block_size(disk)?.ok_or(GptError::NoTable)?;
    let twin = BLOCK_SIZES.iter().find(|size| **size != block);
    if disk.read_up_to(twin.copied().unwrap_or(block), 8)? == SIGNATURE {
        return Err(GptError::SeveralTables);
    }
    check_protective_mbr(&disk.read(0, MBR_SIZE)?)?;
    let header = Header::parse(&disk.read(block, block)?)?;
    let start = header
        .entries_block
        .checked_mul(block)
        .ok_or(GptError::Field {
            what: "the entries' first block",
            expected: "on the disk",
            actual: header.entries_block,
        })?;
    let size = u64::from(header.entry_size).saturating_mul(header.entry_count.into());
    let entries = disk.read(start, size)?;
    check("partition entries", crc32(&entries), header.entries_crc)?;

    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(index(header.entry_size))) {
        if array(entry, 0) == Some(UNUSED_TYPE) {
            continue;
        }
        partitions.push(parse_entry(entry, number, block)?);
    }
    let gpt = Gpt {
        header: header.bytes.clone(),
        entries,
        partitions,
    };
    let esp = gpt.esp()?.number;
    refuse_overlap(&gpt.partitions, &header, block)?;
    for partition in &gpt.partitions {
        let number = partition.number;
        let place = || format!("partition {number}");
        let sector = disk.read_up_to(partition.start, MBR_SIZE)?;
        if number != esp {
            refuse_fat(&sector, place)?;
        }
        refuse_nested(disk, partition, &sector, number == esp)?;
    }
    Ok(gpt)
}

impl Gpt {
    /// Returns the one EFI system partition.
    ///
    /// # Errors
    ///
    /// [`GptError::EspCount`] if there is none, or more than one.
    pub(super) fn esp(&self) -> Result<&Partition, GptError> {
        let mut esps = self.partitions.iter().filter(|p| p.type_id == ESP_TYPE);
        match (esps.next(), esps.count()) {
            (Some(esp), 0) => Ok(esp),
            (None, _) => Err(GptError::EspCount { count: 0 }),
            (Some(_), more) => Err(GptError::EspCount {
                count: more.saturating_add(1),
            }),
        }
    }
}

impl fmt::Display for Guid {
    /// The first three groups are little-endian on disk: UEFI 2.10, appendix A.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, rest @ ..] = self.0;
        let (first, second, third) = ([d, c, b, a], [g, e], [i, h]);
        let [j, k, node @ ..] = rest;
        let groups: [&[u8]; 5] = [&first, &second, &third, &[j, k], &node];
        for (position, group) in groups.iter().enumerate() {
            if position > 0 {
                f.write_str("-")?;
            }
            group.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Checks for the one protective MBR that firmware takes: EDK II
/// `MdeModulePkg/Universal/Disk/PartitionDxe/Gpt.c`, `PartitionInstallGptChildHandles`. That it has
/// nothing else leaves no second opinion to readers of MBRs.
fn check_protective_mbr(mbr: &[u8]) -> Result<(), GptError> {
    let wrong = |expected, actual: &[u8]| GptError::ProtectiveMbr {
        expected,
        actual: actual.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let signature = slice(mbr, 510, 2).unwrap_or_default();
    if signature != [0x55, 0xaa] {
        return Err(wrong("55aa at byte 510", signature));
    }
    let table = slice(mbr, 446, 64).unwrap_or_default();
    let mut used = table.chunks_exact(16).filter(|e| e.iter().any(|b| *b != 0));
    let (Some(entry), None) = (used.next(), used.next()) else {
        return Err(wrong("exactly one used entry", table));
    };
    let is_protective =
        entry.first() == Some(&0) && entry.get(4) == Some(&0xee) && u32_le(entry, 8) == Some(1);
    if !is_protective {
        return Err(wrong("an entry of type ee that begins with block 1", entry));
    }
    refuse_fat(mbr, || "the disk".to_owned())
}

/// Firmware passes over entries that overlap, or lie outside of the space for partitions: EDK II
/// `PartitionDxe/Gpt.c`, `PartitionCheckGptEntry`.
fn refuse_overlap(partitions: &[Partition], header: &Header, block: u64) -> Result<(), GptError> {
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    let mut ordered: Vec<&Partition> = partitions.iter().collect();
    ordered.sort_by_key(|partition| partition.start);
    let mut free = bytes(header.first_usable);
    let end_of_all = bytes(header.last_usable.saturating_add(1));
    for partition in ordered {
        let end = partition.start.saturating_add(partition.size);
        if partition.start < free || end > end_of_all {
            let number = partition.number;
            return Err(GptError::Placement { number });
        }
        free = end;
    }
    Ok(())
}

/// Firmware looks for partition tables and file systems inside of partitions, too: EDK II
/// `PartitionDxe/Partition.c`, `mPartitionDetectRoutineTable`. A boot sector of FAT has the same
/// signature as an MBR, so that the EFI system partition's must have an empty table.
fn refuse_nested<R: Read + Seek>(
    disk: &mut Window<'_, R>,
    partition: &Partition,
    sector: &[u8],
    is_esp: bool,
) -> Result<(), GptError> {
    let mut at = |offset: u64, length: u64| {
        let is_inside = offset.saturating_add(length) <= partition.size;
        let start = partition.start.saturating_add(offset);
        match is_inside {
            true => disk.read_up_to(start, length),
            false => Ok(Vec::new()),
        }
    };
    let is_mbr = slice(sector, 510, 2) == Some(&[0x55, 0xaa]);
    let table = slice(sector, 446, 64).unwrap_or_default();
    let mut found = match (is_mbr, is_esp) {
        (true, false) => Some("a master boot record"),
        (true, true) if table.iter().any(|byte| *byte != 0) => Some("a master boot record's table"),
        _ => None,
    };
    for size in BLOCK_SIZES {
        if at(size, 8)? == SIGNATURE {
            found = Some("a partition table");
        }
    }
    let descriptor = at(VOLUME_DESCRIPTOR, 5)?;
    if VOLUME_IDENTIFIERS.iter().any(|id| descriptor == *id) {
        found = Some("a file system of an optical disc");
    }
    let number = partition.number;
    found.map_or(Ok(()), |what| Err(GptError::Nested { number, what }))
}

fn refuse_fat(sector: &[u8], place: impl Fn() -> String) -> Result<(), GptError> {
    if is_boot_sector(sector) {
        Err(GptError::OtherFat { place: place() })
    } else {
        Ok(())
    }
}

fn block_size<R: Read + Seek>(disk: &mut Window<'_, R>) -> Result<Option<u64>, ReadError> {
    for size in BLOCK_SIZES {
        if disk.read_up_to(size, 8)? == SIGNATURE {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// The fields of a GPT header that are needed.
struct Header {
    bytes: Vec<u8>,
    first_usable: u64,
    last_usable: u64,
    entries_block: u64,
    entry_count: u32,
    entry_size: u32,
    entries_crc: u32,
}

impl Header {
    /// Parses the block that holds the header. It is at least 512 bytes, so that the fields, all
    /// in the first 92, are there.
    fn parse(block: &[u8]) -> Result<Self, GptError> {
        let u32_field = |offset| u32_le(block, offset).unwrap_or_default();
        let size = u32_field(12);
        let header = slice(block, 0, index(size)).filter(|_| size >= HEADER_SIZE);
        let header = header.ok_or(GptError::Field {
            what: "the header's size",
            expected: "92 to one block",
            actual: size.into(),
        })?;
        // The checksum is computed with its own field zero.
        let mut zeroed = header.to_vec();
        if let Some(field) = zeroed.get_mut(16..20) {
            field.fill(0);
        }
        check("header", crc32(&zeroed), u32_field(16))?;

        let this_block = u64_le(block, 24).unwrap_or_default();
        if this_block != 1 {
            let what = "the header's own block";
            return Err(GptError::Field {
                what,
                expected: "1",
                actual: this_block,
            });
        }
        let (entry_count, entry_size) = (u32_field(80), u32_field(84));
        if entry_count == 0 || entry_count > MAX_ENTRIES {
            let actual = entry_count.into();
            return Err(GptError::Field {
                what: "the entries",
                expected: "1 to 1024",
                actual,
            });
        }
        if !ENTRY_SIZES.contains(&entry_size) {
            return Err(GptError::Field {
                what: "an entry's size",
                expected: "128, 256, 512 or 1024",
                actual: entry_size.into(),
            });
        }
        let entries_block = u64_le(block, 72).unwrap_or_default();
        Ok(Self {
            bytes: header.to_vec(),
            first_usable: u64_le(block, 40).unwrap_or_default(),
            last_usable: u64_le(block, 48).unwrap_or_default(),
            entries_block,
            entry_count,
            entry_size,
            entries_crc: u32_field(88),
        })
    }
}

fn check(what: &'static str, expected: u32, actual: u32) -> Result<(), GptError> {
    if expected == actual {
        Ok(())
    } else {
        Err(GptError::Checksum {
            what,
            expected,
            actual,
        })
    }
}

fn parse_entry(entry: &[u8], number: u32, block: u64) -> Result<Partition, GptError> {
    let first = u64_le(entry, 32).unwrap_or_default();
    let last = u64_le(entry, 40).unwrap_or_default();
    let name = slice(entry, 56, 72).unwrap_or_default();
    let units: Vec<u16> = name
        .chunks_exact(2)
        .filter_map(|unit| u16_le(unit, 0))
        .take_while(|unit| *unit != 0)
        .collect();
    let partition = || {
        let blocks = last.checked_sub(first)?.checked_add(1)?;
        Some(Partition {
            number,
            type_id: Guid(array(entry, 0)?),
            unique_id: Guid(array(entry, 16)?),
            name: String::from_utf16_lossy(&units),
            start: first.checked_mul(block)?,
            size: blocks.checked_mul(block)?,
        })
    };
    partition().ok_or(GptError::Field {
        what: "a partition's last block",
        expected: "after its first, and on the disk",
        actual: last,
    })
}
