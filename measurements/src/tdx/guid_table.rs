//! The table of GUIDs near the end of OVMF, which leads to the TDX metadata.
//!
//! EDK II `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`; QEMU `hw/i386/pc_sysfw_ovmf.c`,
//! `pc_system_parse_ovmf_flash` and `pc_system_ovmf_table_find`. It ends 32 bytes before the file's
//! end and is read backwards: each entry has its data first, then its length, then its GUID.
//!
//! I/O: none.

use super::tdvf::TdvfError;
use crate::bytes::{array, index, slice, u16_le};

/// Bytes behind the table: the reset vector.
const AFTER_TABLE: usize = 32;
/// Bytes at an entry's end: its length and its GUID.
const ENTRY_TAIL: usize = 18;
/// 96B582DE-1FB2-45F7-BAEA-A366C55A082D, as it is in the file: the table's footer.
const FOOTER: [u8; 16] = [
    0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d,
];
/// E47A6535-984A-4798-865E-4685A7BF8EC2: how far before the end the TDX descriptor is.
const DESCRIPTOR_OFFSET: [u8; 16] = [
    0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2,
];

/// Returns where the TDX descriptor begins. The whole table is walked, so that there is one entry
/// for it whichever way a host looks for it.
pub(super) fn descriptor_offset(firmware: &[u8]) -> Result<usize, TdvfError> {
    let size = firmware.len();
    let body = size.checked_sub(AFTER_TABLE);
    let (table, footer) = body
        .and_then(|end| firmware.get(..end))
        .and_then(split_tail)
        .ok_or(TdvfError::NoTable)?;
    if footer.guid != FOOTER {
        return Err(TdvfError::NoTable);
    }
    // The footer's length is the whole table's, with the footer.
    let mut table = last_entry(table, footer.length)?;
    let mut found = Vec::new();
    while !table.is_empty() {
        let (rest, tail) = split_tail(table).ok_or(TdvfError::Table {
            expected: table.len(),
            actual: table.len(),
        })?;
        let data = last_entry(rest, tail.length)?;
        if tail.guid == DESCRIPTOR_OFFSET {
            found.push(data);
        }
        let before = rest.len().saturating_sub(data.len());
        table = slice(rest, 0, before).unwrap_or_default();
    }
    let [data] = found[..] else {
        let count = found.len();
        return Err(TdvfError::Metadata { count });
    };
    let wrong = |actual| TdvfError::Descriptor {
        what: "the descriptor's distance from the end",
        expected: format!("4 bytes: 16 to {size}"),
        actual,
    };
    let distance = array(data, 0).map(u32::from_le_bytes);
    let distance = distance
        .filter(|_| data.len() == 4)
        .ok_or(wrong(data.len() as u64))?;
    size.checked_sub(index(distance))
        .ok_or(wrong(distance.into()))
}

/// Length and GUID, which stand at an entry's end.
struct Tail {
    length: usize,
    guid: [u8; 16],
}

/// Splits what is before an entry's end from it; `None` if there is no room for one.
fn split_tail(bytes: &[u8]) -> Option<(&[u8], Tail)> {
    let start = bytes.len().checked_sub(ENTRY_TAIL)?;
    let (rest, tail) = bytes.split_at_checked(start)?;
    let length = u16_le(tail, 0)?.into();
    let guid = array(tail, 2)?;
    Some((rest, Tail { length, guid }))
}

/// Returns the data of an entry of this length whose end was split off `rest`.
fn last_entry(rest: &[u8], length: usize) -> Result<&[u8], TdvfError> {
    let data = || {
        let start = rest.len().checked_sub(length.checked_sub(ENTRY_TAIL)?)?;
        rest.get(start..)
    };
    data().ok_or(TdvfError::Table {
        expected: rest.len().saturating_add(ENTRY_TAIL),
        actual: length,
    })
}
