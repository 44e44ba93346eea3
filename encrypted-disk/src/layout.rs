//! Where things are on the disk.
//!
//! ```text
//! offset   length   what
//! 0        4 MiB    LUKS2 header, copy A: where cryptsetup looks for it too
//! 4 MiB    512      record A, which authenticates copy A
//! 8 MiB    4 MiB    LUKS2 header, copy B
//! 12 MiB   512      record B, which authenticates copy B
//! 16 MiB   …        data: one dm-crypt segment, to the end of the disk
//! ```
//!
//! What is between is zero. A header and its record are a *slot*. A slot is written while the other one
//! stays as it is, header first, and a record is one sector: whenever the power is cut, one slot is
//! whole. A header's offsets never point outside its 4 MiB, but for the segment's, so that nothing that
//! cryptsetup does to a header reaches a record.
//!
//! I/O: none.

/// Bytes of a header: two times 16 KiB of metadata, then the keyslots' areas.
pub const HEADER_BYTES: usize = 4 << 20;

/// Bytes of one of the two copies of the metadata in a LUKS2 header.
pub const METADATA_BYTES: usize = 16 << 10;

/// Bytes for the keyslots' areas: what the metadata leave of [`HEADER_BYTES`].
pub const KEYSLOTS_BYTES: usize = HEADER_BYTES - 2 * METADATA_BYTES;

/// Where the data begin.
pub const DATA_OFFSET: u64 = 16 << 20;

/// Bytes of a sector: records are one, which disks write whole or not at all.
pub const SECTOR: usize = 512;

/// Bytes of a block of the encrypted data; the disk's size is a multiple.
pub const BLOCK: u64 = 4096;

/// The smallest disk that is formatted.
pub const LEAST_BYTES: u64 = 128 << 20;

/// One of the two places of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// At the disk's beginning.
    A,
    /// At 8 MiB.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Where its header is.
    pub const fn header(self) -> u64 {
        match self {
            Self::A => 0,
            Self::B => 8 << 20,
        }
    }

    /// Where its record is.
    pub const fn record(self) -> u64 {
        match self {
            Self::A => 4 << 20,
            Self::B => 12 << 20,
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
