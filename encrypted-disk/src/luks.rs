//! Reads a LUKS2 header and accepts exactly what [`crate::Tools::prepare`] makes.
//!
//! A LUKS2 header says how the disk is to be decrypted, and whoever has the disk can write it: with a
//! header that says `cipher_null`, a machine that believes it puts its secrets on the disk in the
//! clear (CVE-2025-59054, CVE-2025-58356). So what a header says is a closed list here, field by field,
//! and what is not on the list is refused, known to cryptsetup or not. The header is also
//! authenticated ([`crate::record`]); each of the two would be enough, if the other one failed.
//!
//! The format: the LUKS2 on-disk format specification 1.1.2. A header has two copies of its metadata, 4096
//! bytes of binary fields (big-endian) and 12288 bytes of JSON each. cryptsetup takes the newer one that is
//! whole; here both have to be whole and say the same.
//!
//! Left out: deriving keys and opening keyslots, which is cryptsetup's.
//!
//! I/O: none.

mod binary;
mod check;
mod error;
mod json;

use serde::Deserialize;

pub use self::error::HeaderError;
use crate::layout::{HEADER_BYTES, METADATA_BYTES};

/// What a LUKS2 header begins with, at offset 0.
pub const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";

/// What the second copy of a LUKS2 header's metadata begins with.
pub const SECOND_MAGIC: [u8; 6] = *b"SKUL\xba\xbe";

/// All places where the second copy may be: after a first one of 16 KiB to 4 MiB.
pub const SECOND_OFFSETS: [u64; 9] = [
    0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000,
];

/// Which key derivations a keyslot may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyDerivation {
    /// PBKDF2, which is what [`crate::Tools::prepare`] makes.
    Pbkdf2,
    /// Argon2id too, for headers that something else has made.
    Argon2idToo,
}

/// A header that is what we make: one AES-XTS segment, one keyslot, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The volume's UUID.
    pub uuid: String,
    /// How often cryptsetup has changed the header.
    pub sequence: u64,
}

impl Header {
    /// Reads and checks a header, all [`HEADER_BYTES`] of it. What is in the keyslot's area is
    /// noise and not looked at.
    ///
    /// # Errors
    ///
    /// [`HeaderError`], which says which field is not as it has to be.
    pub fn parse(area: &[u8], derivation: KeyDerivation) -> Result<Self, HeaderError> {
        if area.len() != HEADER_BYTES {
            return Err(HeaderError::Size { actual: area.len() });
        }
        let (first, rest) = area.split_at_checked(METADATA_BYTES).unwrap_or_default();
        let second = rest.get(..METADATA_BYTES).unwrap_or_default();
        let first = binary::parse(first, binary::Copy::First)?;
        let second = binary::parse(second, binary::Copy::Second)?;
        first.require_equal(&second)?;
        check::check(&json::parse(first.json)?, derivation)?;
        Ok(Self {
            uuid: first.uuid.to_owned(),
            sequence: first.sequence,
        })
    }
}

#[cfg(test)]
mod tests;
