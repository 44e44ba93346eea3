//! The file allocation table: which cluster follows which.
//!
//! I/O: none.

use crate::bytes::{index, u16_le, u32_le};

/// The width of the table's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The first FAT.
pub(super) struct Table {
    width: Width,
    bytes: Vec<u8>,
    clusters: u32,
}

impl Table {
    pub(super) fn new(width: Width, bytes: Vec<u8>, clusters: u32) -> Self {
        Self {
            width,
            bytes,
            clusters,
        }
    }

    /// Returns the entry for `cluster`; an end mark if the table is too short to have one.
    pub(super) fn next(&self, cluster: u32) -> u32 {
        let cluster_index = index(cluster);
        let entry = match self.width {
            Width::Fat12 => {
                // Two entries share three bytes.
                let at = cluster_index.saturating_add(cluster_index / 2);
                u16_le(&self.bytes, at).map(|pair| {
                    let entry = if cluster.is_multiple_of(2) {
                        pair & 0x0fff
                    } else {
                        pair >> 4
                    };
                    u32::from(entry)
                })
            }
            Width::Fat16 => u16_le(&self.bytes, cluster_index.saturating_mul(2)).map(u32::from),
            // The upper four bits are reserved.
            Width::Fat32 => u32_le(&self.bytes, cluster_index.saturating_mul(4))
                .map(|entry| entry & 0x0fff_ffff),
        };
        entry
            .filter(|_| cluster < self.clusters.saturating_add(2))
            .unwrap_or(u32::MAX)
    }

    /// Says whether an entry marks the end of a chain.
    pub(super) fn is_end(&self, entry: u32) -> bool {
        let first_mark = match self.width {
            Width::Fat12 => 0xff8,
            Width::Fat16 => 0xfff8,
            Width::Fat32 => 0x0fff_fff8,
        };
        entry >= first_mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fat12_entries_share_bytes() {
        // Entries 0..=3: 0xff8, 0xfff, 0x003, 0xabc.
        let table = Table::new(Width::Fat12, vec![0xf8, 0xff, 0xff, 0x03, 0xc0, 0xab], 2);
        assert_eq!([table.next(2), table.next(3)], [0x003, 0xabc]);
        assert!(table.is_end(table.next(4)), "beyond the last cluster");
        assert!(!table.is_end(0xff7), "a bad cluster is not an end");
    }

    #[test]
    fn fat32_ignores_reserved_bits() {
        let bytes = [0u32, 0, 0xf000_0003, 0xffff_ffff]
            .map(u32::to_le_bytes)
            .concat();
        let table = Table::new(Width::Fat32, bytes, 2);
        assert_eq!(table.next(2), 3);
        assert!(table.is_end(table.next(3)));
    }
}
