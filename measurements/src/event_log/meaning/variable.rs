//! UEFI_VARIABLE_DATA: a variable of the firmware.
//!
//! I/O: none.

use std::fmt;

use super::text::{guid, utf16_until_nul};
use super::{Escaped, device_path};
use crate::bytes::{array, slice, u16_le, u64_le};

/// Longest name that is shown, in characters.
const MAX_NAME: usize = 256;
/// Most entries of the boot order that are shown.
const MAX_ORDER: usize = 32;

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// VariableName: the GUID that the name belongs to.
    pub guid: String,
    /// UnicodeName, not escaped.
    pub name: String,
    /// VariableData.
    pub value: Vec<u8>,
}

impl Variable {
    /// GUID 16, characters of the name 8, bytes of the value 8, name in UTF-16, value.
    pub(in super::super) fn parse(data: &[u8]) -> Option<Self> {
        let size = |offset| usize::try_from(u64_le(data, offset)?).ok();
        let name = slice(data, 32, size(16)?.checked_mul(2)?)?;
        let value = slice(data, name.len().checked_add(32)?, size(24)?)?;
        Some(Self {
            guid: guid(array(data, 0)?),
            name: utf16_until_nul(name),
            value: value.to_vec(),
        })
    }

    /// The value in words, for variables that boots have.
    fn describe_value(&self) -> String {
        let known = match (self.name.as_str(), self.value.as_slice()) {
            (_, []) => Some("not set".to_owned()),
            ("SecureBoot", [1]) => Some("on".to_owned()),
            ("SecureBoot", [0]) => Some("off".to_owned()),
            ("BootOrder", order) => Some(describe_order(order)),
            (name, option) if is_boot_option(name) => describe_boot_option(option),
            _ => None,
        };
        known.unwrap_or_else(|| format!("{} bytes", self.value.len()))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.chars().take(MAX_NAME).collect();
        let value = self.describe_value();
        write!(f, "variable {} ({}): {value}", Escaped(&name), self.guid)
    }
}

fn describe_order(order: &[u8]) -> String {
    let entries = order
        .chunks_exact(2)
        .filter_map(|entry| u16_le(entry, 0))
        .take(MAX_ORDER)
        .map(|entry| format!("{entry:04X}"));
    entries.collect::<Vec<_>>().join(", ")
}

/// `Boot0001`: UEFI 2.10, 3.1.1.
fn is_boot_option(name: &str) -> bool {
    let number = name.strip_prefix("Boot").unwrap_or_default();
    number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// EFI_LOAD_OPTION: attributes 4, bytes of the path 2, description in UTF-16 with NUL, path.
fn describe_boot_option(option: &[u8]) -> Option<String> {
    let path_size = usize::from(u16_le(option, 4)?);
    let text = option.get(6..)?;
    let characters = text.chunks_exact(2).position(|unit| unit == [0, 0])?;
    let path_start = characters.checked_mul(2)?.checked_add(8)?;
    let name: String = utf16_until_nul(text).chars().take(MAX_NAME).collect();
    let path = device_path::describe(slice(option, path_start, path_size)?);
    Some(format!("\"{}\" {path}", Escaped(&name)))
}
