//! What the Authenticode digest of a PE covers: what firmware extends into PCR 4 for an image it
//! loads.
//!
//! Left out: page hashes, and the signatures that the digest is otherwise used for.
//!
//! I/O: none; the caller reads and hashes the ranges.

use std::ops::Range;

use super::{Pe, PeError};

/// Lists the ranges of the file that are hashed, in order.
///
/// Follows "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image
/// Hash", as literally as EDK II `SecurityPkg/Tcg/Tcg2Dxe/MeasureBootPeCoff.c`
/// (`MeasurePeImageAndExtend`) does: the headers but for CheckSum and the
/// certificate table's directory entry, the sections in the order of their place in the file, then
/// what is left between *the sum of these lengths* and the certificate table.
///
/// # Errors
///
/// [`PeError::Layout`] if the parts do not fit into the file.
pub(crate) fn hashed_ranges(pe: &Pe) -> Result<Vec<Range<u64>>, PeError> {
    let file_size = pe.file_size;
    let layout = |what, actual| PeError::Layout {
        what,
        actual,
        file_size,
    };
    let mut ranges = Vec::with_capacity(pe.sections.len().saturating_add(4));
    let mut push = |start: u64, end: u64, what, actual| {
        if start > end || end > file_size {
            return Err(layout(what, actual));
        }
        ranges.push(start..end);
        Ok(())
    };

    let headers = pe.headers_size;
    let mut push_headers = |start, end| push(start, end, "the headers' size", headers);
    let after_checksum = pe.checksum_offset.saturating_add(4);
    push_headers(0, pe.checksum_offset)?;
    let certificates_size = match pe.certificates {
        Some((entry, size)) => {
            push_headers(after_checksum, entry)?;
            push_headers(entry.saturating_add(8), headers)?;
            size
        }
        None => {
            push_headers(after_checksum, headers)?;
            0
        }
    };

    let mut sections: Vec<_> = pe.sections.iter().filter(|s| s.raw_size > 0).collect();
    // Stable: sections that begin at the same byte stay in the table's order.
    sections.sort_by_key(|section| section.raw_offset);
    let mut hashed = headers;
    for section in sections {
        let (start, size) = (u64::from(section.raw_offset), u64::from(section.raw_size));
        push(start, start.saturating_add(size), "a section", size)?;
        hashed = hashed.saturating_add(size);
    }

    // EDK II would hash overlapping sections; no linker makes them, and they could be without end.
    if hashed > file_size {
        return Err(layout("the sum of headers and sections", hashed));
    }
    if file_size > hashed {
        let what = "the certificate table";
        let end = file_size.checked_sub(certificates_size);
        let end = end.ok_or(layout(what, certificates_size))?;
        push(hashed, end, what, certificates_size)?;
    }
    Ok(ranges)
}
