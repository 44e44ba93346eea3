//! Recognises a fixed VHD: a raw disk followed by a 512-byte footer.
//!
//! Follows Microsoft's "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer
//! Format". Numbers are big-endian.
//!
//! I/O: reads the image's last 512 bytes.

use std::io::{Read, Seek};

use super::window::Window;
use crate::bytes::{slice, u32_be, u64_be};
use crate::source::ReadError;

const FOOTER_SIZE: u64 = 512;
const COOKIE: &[u8] = b"conectix";
/// "Disk Type" of a fixed hard disk.
const FIXED: u32 = 2;

/// Why a VHD cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhdError {
    /// The image could not be read.
    #[error("the footer cannot be read")]
    Read(#[from] ReadError),
    /// The disk's contents are not simply in front of the footer.
    #[error("expected a fixed VHD (type {FIXED}), got type {actual}; convert it to a fixed VHD")]
    NotFixed {
        /// The type in the footer.
        actual: u32,
    },
    /// The footer is damaged.
    #[error("expected the footer's checksum to be {expected:#010x}, got {actual:#010x}")]
    Checksum {
        /// Computed from the footer.
        expected: u32,
        /// Written in the footer.
        actual: u32,
    },
    /// The footer belongs to a disk of another size.
    #[error("the footer says that the disk has {expected} bytes, but there are {actual}")]
    Size {
        /// "Current Size" in the footer.
        expected: u64,
        /// Bytes in front of the footer.
        actual: u64,
    },
}

/// Returns the size of the disk in front of the footer; `None` if there is no footer, so that this
/// is no VHD.
///
/// # Errors
///
/// [`VhdError`] if there is a footer, but of another kind of VHD or a damaged one.
pub(super) fn disk_size<R: Read + Seek>(file: &mut Window<'_, R>) -> Result<Option<u64>, VhdError> {
    let Some(size) = file.size().checked_sub(FOOTER_SIZE) else {
        return Ok(None);
    };
    let footer = file.read(size, FOOTER_SIZE)?;
    // The footer is read whole, so that every field is there.
    let field = |offset| u32_be(&footer, offset).unwrap_or_default();
    if slice(&footer, 0, 8) != Some(COOKIE) {
        return Ok(None);
    }
    if field(60) != FIXED {
        return Err(VhdError::NotFixed { actual: field(60) });
    }
    let (expected, actual) = (checksum(&footer), field(64));
    if expected != actual {
        return Err(VhdError::Checksum { expected, actual });
    }
    let expected = u64_be(&footer, 48).unwrap_or_default();
    if expected != size {
        return Err(VhdError::Size {
            expected,
            actual: size,
        });
    }
    Ok(Some(size))
}

/// The one's complement of the sum of all bytes but the checksum's own.
fn checksum(footer: &[u8]) -> u32 {
    let counted = footer
        .iter()
        .enumerate()
        .filter(|(offset, _)| !(64..68).contains(offset));
    !counted.fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}
