//! Where things are in a FAT file system, from its boot sector.
//!
//! I/O: none.

use super::FatError;
use super::table::Width;
use crate::bytes::{u8_at, u16_le, u32_le};

/// Largest FAT that is read and held in memory: one of FAT32 for a 2 GiB partition with 512-byte
/// clusters, or for 16 GiB with the usual 4 KiB.
const MAX_TABLE_SIZE: u64 = 16 << 20;

/// Fewest clusters of FAT32, and one more than FAT16 has at most.
const MIN_FAT32_CLUSTERS: u64 = 65_525;

/// All in bytes from the volume's beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) kind: Width,
    pub(super) table_start: u64,
    pub(super) table_size: u64,
    pub(super) root: RootDirectory,
    pub(super) cluster_size: u64,
    pub(super) clusters: u32,
    data_start: u64,
}

/// Where the root directory is.
#[derive(Debug, Clone, Copy)]
pub(super) enum RootDirectory {
    /// FAT12 and FAT16: a region of its own.
    Fixed { start: u64, size: u64 },
    /// FAT32: a chain of clusters, of which this is the first.
    Cluster(u32),
}

impl Layout {
    /// Parses the boot sector, of which `sector` holds at least 512 bytes, of a volume of
    /// `volume_size` bytes.
    pub(super) fn parse(sector: &[u8], volume_size: u64) -> Result<Self, FatError> {
        let byte = |offset| u64::from(u8_at(sector, offset).unwrap_or_default());
        let word = |offset| u64::from(u16_le(sector, offset).unwrap_or_default());
        let long = |offset| u64::from(u32_le(sector, offset).unwrap_or_default());
        let either = |short, long| if short == 0 { long } else { short };

        let sector_size = require("BytsPerSec", "512, 1024, 2048 or 4096", word(11), |size| {
            size.is_power_of_two() && (512..=4096).contains(&size)
        })?;
        let sectors_per_cluster = require(
            "SecPerClus",
            "a power of two",
            byte(13),
            u64::is_power_of_two,
        )?;
        let reserved = require("RsvdSecCnt", "not 0", word(14), |count| count > 0)?;
        let tables = require("NumFATs", "1 or 2", byte(16), |count| {
            (1..=2).contains(&count)
        })?;
        require("Media", "0, 1, 0xf0 or 0xf8 to 0xff", byte(21), is_medium)?;
        let table_sectors = require("FATSz", "not 0", either(word(22), long(36)), |count| {
            count > 0
        })?;
        let sectors = require(
            "TotSec",
            "1 to the partition's size",
            either(word(19), long(32)),
            |count| (1..=volume_size.checked_div(sector_size).unwrap_or(0)).contains(&count),
        )?;

        let is_fat32 = word(22) == 0;
        // Firmware counts no such entries in FAT32, whatever is written there; others must have some.
        let root_entries = require(
            "RootEntCnt",
            "0 in FAT32, and not 0 in FAT12 and FAT16",
            word(17),
            |count| (count == 0) == is_fat32,
        )?;
        if is_fat32 {
            require("BPB_FSVer", "0", word(42), |version| version == 0)?;
            require(
                "BPB_ExtFlags",
                "without bit 7 (one active FAT)",
                word(40),
                |flags| flags & 0x80 == 0,
            )?;
        }
        let root_start = reserved.saturating_add(tables.saturating_mul(table_sectors));
        let root_sectors = root_entries.saturating_mul(32).div_ceil(sector_size);
        let data = root_start.saturating_add(root_sectors);
        let data_sectors = sectors.checked_sub(data).ok_or(FatError::Field {
            what: "TotSec",
            expected: "more than what is in front of the data",
            actual: sectors,
        })?;
        let clusters = data_sectors.checked_div(sectors_per_cluster).unwrap_or(0);
        // Cluster numbers of FAT32 have 28 bits.
        let (expected, range) = if is_fat32 {
            (
                "65525 to 0x0ffffff5 in FAT32",
                MIN_FAT32_CLUSTERS..=0x0fff_fff5,
            )
        } else {
            ("1 to 65524 in FAT12 and FAT16", 1..=MIN_FAT32_CLUSTERS - 1)
        };
        let clusters = require("the number of clusters", expected, clusters, |count| {
            range.contains(&count)
        })?;
        let kind = width(is_fat32, clusters);
        let bytes = |sectors: u64| sectors.saturating_mul(sector_size);
        let table_size = require(
            "FATSz in bytes",
            "at most 16 MiB",
            bytes(table_sectors),
            |size| size <= MAX_TABLE_SIZE,
        )?;
        Ok(Self {
            kind,
            table_start: bytes(reserved),
            table_size,
            root: match kind {
                Width::Fat32 => RootDirectory::Cluster(u32_le(sector, 44).unwrap_or_default()),
                Width::Fat12 | Width::Fat16 => RootDirectory::Fixed {
                    start: bytes(root_start),
                    size: root_entries.saturating_mul(32),
                },
            },
            cluster_size: bytes(sectors_per_cluster),
            clusters: u32::try_from(clusters).unwrap_or(0),
            data_start: bytes(data),
        })
    }

    /// Returns where a cluster begins; `None` if there is no such cluster.
    pub(super) fn cluster_start(&self, cluster: u32) -> Option<u64> {
        let number = cluster
            .checked_sub(2)
            .filter(|number| *number < self.clusters)?;
        let offset = u64::from(number).checked_mul(self.cluster_size)?;
        self.data_start.checked_add(offset)
    }

    pub(super) fn last_cluster(&self) -> u32 {
        self.clusters.saturating_add(1)
    }

    pub(super) fn data_size(&self) -> u64 {
        self.cluster_size.saturating_mul(self.clusters.into())
    }
}

/// Says whether firmware might take a volume that begins with `sector` for a FAT file system: the
/// checks of EDK II `FatPkg/EnhancedFatDxe/Init.c`, `FatOpenDevice`, of which none looks at the jump
/// in front or the signature in the last two bytes. Less strict than [`Layout::parse`].
pub(in crate::image) fn is_boot_sector(sector: &[u8]) -> bool {
    let byte = |offset| u8_at(sector, offset).unwrap_or_default();
    let word = |offset| u16_le(sector, offset).unwrap_or_default();
    word(11).is_power_of_two()
        && byte(13).is_power_of_two()
        && word(14) > 0
        && byte(16) > 0
        && is_medium(byte(21).into())
}

/// The descriptors that firmware takes, which are some more than the specification has.
fn is_medium(descriptor: u64) -> bool {
    matches!(descriptor, 0 | 1 | 0xf0 | 0xf8..)
}

/// FAT32 is told by its zero FATSz16, as firmware does (EDK II `FatPkg/EnhancedFatDxe/Init.c`), and
/// then has at least the specification's number of clusters: firmware refuses others. FAT12 by
/// cluster count.
fn width(is_fat32: bool, clusters: u64) -> Width {
    match (is_fat32, clusters) {
        (true, _) => Width::Fat32,
        (false, ..4085) => Width::Fat12,
        (false, _) => Width::Fat16,
    }
}

fn require(
    what: &'static str,
    expected: &'static str,
    actual: u64,
    is_valid: impl Fn(u64) -> bool,
) -> Result<u64, FatError> {
    if is_valid(actual) {
        Ok(actual)
    } else {
        Err(FatError::Field {
            what,
            expected,
            actual,
        })
    }
}
