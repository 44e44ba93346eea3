//! The Authenticode digest of a PE: what firmware extends into PCR 4 for an image it loads.
//!
//! Left out: SHA-1, page hashes, and the signatures that the digest is otherwise used for.
//!
//! I/O: none.

use sha2::{Digest as _, Sha256};

use super::{Pe, PeError};
use crate::Sha256Digest;
use crate::bytes::{index, slice};

/// Computes the Authenticode digest of the PE that `bytes` is.
///
/// Follows "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image
/// Hash", as literally as EDK II `SecurityPkg/Tcg/Tcg2Dxe/MeasureBootPeCoff.c`
/// (`MeasurePeImageAndExtend`) does: the headers but for CheckSum and the
/// certificate table's directory entry, the sections in the order of their place in the file, then
/// what is left between *the sum of these lengths* and the certificate table.
///
/// # Errors
///
/// [`PeError`] if `bytes` is not a PE, or its parts do not fit into it.
pub(crate) fn digest(bytes: &[u8]) -> Result<Sha256Digest, PeError> {
    let pe = Pe::parse(bytes)?;
    let layout = |what, actual: usize| {
        let file_size = bytes.len();
        move || PeError::Layout {
            what,
            actual: actual as u64,
            file_size,
        }
    };
    let between = |start: usize, end: usize| {
        bytes
            .get(start..end)
            .ok_or_else(layout("the headers' size", pe.headers_size))
    };

    let mut hash = Sha256::new();
    let after_checksum = pe.checksum_offset.saturating_add(4);
    hash.update(between(0, pe.checksum_offset)?);
    let certificates_size = match pe.certificates {
        Some((entry, size)) => {
            hash.update(between(after_checksum, entry)?);
            hash.update(between(entry.saturating_add(8), pe.headers_size)?);
            size
        }
        None => {
            hash.update(between(after_checksum, pe.headers_size)?);
            0
        }
    };

    let mut sections: Vec<_> = pe.sections.iter().filter(|s| s.raw_size > 0).collect();
    // Stable: sections that begin at the same byte stay in the table's order.
    sections.sort_by_key(|section| section.raw_offset);
    let mut hashed = pe.headers_size;
    for section in sections {
        let size = index(section.raw_size);
        let data = slice(bytes, index(section.raw_offset), size);
        hash.update(data.ok_or_else(layout("a section", size))?);
        hashed = hashed.saturating_add(size);
    }

    // EDK II would hash overlapping sections; no linker makes them, and they could be without end.
    if hashed > bytes.len() {
        return Err(layout("the sum of headers and sections", hashed)());
    }
    if bytes.len() > hashed {
        let end = bytes.len().checked_sub(certificates_size);
        let rest = end.and_then(|end| bytes.get(hashed..end));
        hash.update(rest.ok_or_else(layout("the certificate table", certificates_size))?);
    }
    Ok(crate::Digest(hash.finalize().into()))
}
