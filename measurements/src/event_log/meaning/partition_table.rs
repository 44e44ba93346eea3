//! UEFI_GPT_DATA: the partition table of the disk that was booted.
//!
//! I/O: none.

use std::fmt;

use super::Escaped;
use super::text::{guid, utf16_until_nul};
use crate::bytes::{array, slice, u64_le};

/// EFI_PARTITION_TABLE_HEADER.
const HEADER: usize = 92;
/// UEFI_GPT_DATA has entries of this size, whatever the disk's are.
const ENTRY: usize = 128;
/// A GPT's usual number of entries; more are not shown.
const MAX_ENTRIES: usize = 128;

/// A disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// The disk's GUID.
    pub disk: String,
    /// The names of its partitions, not escaped.
    pub partitions: Vec<String>,
}

impl PartitionTable {
    /// Header, number of partitions 8, one entry for each.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let header = slice(data, 0, HEADER)?;
        if !header.starts_with(b"EFI PART") {
            return None;
        }
        let count = usize::try_from(u64_le(data, HEADER)?).ok()?;
        let entries = slice(data, HEADER.checked_add(8)?, count.checked_mul(ENTRY)?)?;
        let names = entries
            .chunks_exact(ENTRY)
            .take(MAX_ENTRIES)
            .map(|entry| utf16_until_nul(entry.get(56..).unwrap_or_default()));
        Some(Self {
            disk: guid(array(header, 56)?),
            partitions: names.collect(),
        })
    }
}

impl fmt::Display for PartitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition table of disk {}:", self.disk)?;
        let mut separator = " ";
        for name in &self.partitions {
            write!(f, "{separator}{}", Escaped(name))?;
            separator = ", ";
        }
        if self.partitions.is_empty() {
            f.write_str(" no partitions")?;
        }
        Ok(())
    }
}
