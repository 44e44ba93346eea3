//! Base relocations: what a loader changes in memory because the image is not where it was linked.
//!
//! Follows "PE Format", "The .reloc Section", and EDK II
//! `MdePkg/Library/BasePeCoffLib/BasePeCoff.c`, `PeCoffLoaderRelocateImage`. What is done to a
//! place is of no interest, only that nothing is done to bytes that are measured or parsed.
//!
//! I/O: none.

use super::{Pe, PeError, SectionHeader};
use crate::bytes::{index, u16_le, u32_le};

/// Page address and size in front of a block's fixups.
const BLOCK_HEADER_SIZE: u32 = 8;

/// Most bytes that one fixup changes: IMAGE_REL_BASED_DIR64.
const FIXUP_SIZE: u64 = 8;

/// Largest table of relocations that is read: 4 MiB, where a stub has a few hundred bytes.
const MAX_TABLE_SIZE: u32 = 4 << 20;

/// Says where in the file the relocations are: offset and size; `None` if there are none.
///
/// # Errors
///
/// [`PeError::RelocationTable`] if they are not in one section, or too many.
pub(crate) fn table(pe: &Pe) -> Result<Option<(u64, u64)>, PeError> {
    let Some((address, size)) = pe.relocations.filter(|(_, size)| *size > 0) else {
        return Ok(None);
    };
    let malformed = || PeError::RelocationTable { address, size };
    let holder = holder(pe, address).ok_or_else(malformed)?;
    let offset = address.saturating_sub(holder.virtual_address);
    let is_stored = offset
        .checked_add(size)
        .is_some_and(|end| end <= holder.raw_size.min(holder.memory_size()));
    if !is_stored || size > MAX_TABLE_SIZE {
        return Err(malformed());
    }
    let start = u64::from(holder.raw_offset).saturating_add(offset.into());
    Ok(Some((start, size.into())))
}

fn holder(pe: &Pe, address: u32) -> Option<&SectionHeader> {
    pe.sections.iter().find(|s| s.is_at(address.into()))
}

/// Checks that no relocation of `table` changes the headers, a section for which `is_data` holds,
/// or the relocations themselves.
///
/// # Errors
///
/// [`PeError::Relocation`] if one does; [`PeError::RelocationTable`] if the table is malformed.
pub(crate) fn check(
    mut table: &[u8],
    pe: &Pe,
    is_data: impl Fn(&[u8]) -> bool,
) -> Result<(), PeError> {
    let (address, size) = pe.relocations.unwrap_or_default();
    let malformed = || PeError::RelocationTable { address, size };
    let holder = holder(pe, address).ok_or_else(malformed)?;

    while !table.is_empty() {
        let page = u32_le(table, 0).ok_or_else(malformed)?;
        let size = u32_le(table, 4).filter(|size| *size >= BLOCK_HEADER_SIZE);
        let (block, rest) = size
            .and_then(|size| table.split_at_checked(index(size)))
            .ok_or_else(malformed)?;
        let fixups = block.chunks_exact(2).skip(index(BLOCK_HEADER_SIZE / 2));
        for fixup in fixups.filter_map(|fixup| u16_le(fixup, 0)) {
            // IMAGE_REL_BASED_ABSOLUTE: padding.
            if fixup >> 12 == 0 {
                continue;
            }
            let first = u64::from(page).saturating_add(u64::from(fixup & 0xfff));
            let last = first.saturating_add(FIXUP_SIZE).saturating_sub(1);
            if first < pe.headers_size {
                let name = "the headers".to_owned();
                return Err(PeError::Relocation { name, first });
            }
            let changed = pe.sections.iter().find(|section| {
                let counts = section.virtual_address == holder.virtual_address
                    || is_data(section.name_bytes());
                counts && section.overlaps(first, last)
            });
            if let Some(section) = changed {
                let name = format!("section {}", section.name());
                return Err(PeError::Relocation { name, first });
            }
        }
        table = rest;
    }
    Ok(())
}
