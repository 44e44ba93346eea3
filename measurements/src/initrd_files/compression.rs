//! The compressions that Linux knows by their first two bytes: v6.12 `lib/decompress.c`,
//! `compressed_formats`.
//!
//! I/O: none.

use std::fmt;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The format of LZMA Utils (`.lzma`).
    Lzma,
    /// The .xz file format.
    Xz,
    /// lzop.
    Lzo,
    /// The legacy frame of LZ4 (`lz4 -l`).
    Lz4,
    /// RFC 8878.
    Zstd,
}

const MAGIC: [([u8; 2], Compression); 8] = [
    ([0x1f, 0x8b], Compression::Gzip),
    ([0x1f, 0x9e], Compression::Gzip),
    ([0x42, 0x5a], Compression::Bzip2),
    ([0x5d, 0x00], Compression::Lzma),
    ([0xfd, 0x37], Compression::Xz),
    ([0x89, 0x4c], Compression::Lzo),
    ([0x02, 0x21], Compression::Lz4),
    ([0x28, 0xb5], Compression::Zstd),
];

impl Compression {
    /// Returns the compression of data that begins with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        MAGIC
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, compression)| *compression)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}
