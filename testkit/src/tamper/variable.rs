//! Firmware variables that a host can set before the machine starts.
//!
//! I/O: runs virt-fw-vars on a variables file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::TamperError;
use crate::child::run_tool;

/// systemd's variables: systemd.io's `BOOT_LOADER_INTERFACE`, and `SystemdOptions`.
pub const SYSTEMD: &str = "8cf2644b-4b0b-428f-9387-6d876050dc67";
/// `EFI_GLOBAL_VARIABLE`, UEFI Specification 2.10, 3.3: boot entries and their order.
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Non-volatile, readable by boot services and at run time: UEFI Specification 2.10, 8.2.
const ATTRIBUTES: u32 = 7;

/// A firmware variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its vendor's GUID.
    pub vendor: &'static str,
    /// Its value.
    pub data: Vec<u8>,
}

impl Variable {
    /// A variable of systemd's, whose values are UTF-16 text with a NUL.
    pub fn systemd(name: &'static str, text: &str) -> Self {
        Self {
            name,
            vendor: SYSTEMD,
            data: utf16(text),
        }
    }
}

/// The variables that make the firmware start `path` of the disk's EFI System Partition first,
/// and give it `options`, which systemd-stub takes for a command line.
pub fn boot_entry(path: &str, options: &str) -> Vec<Variable> {
    // EFI_LOAD_OPTION, UEFI Specification 2.10, 3.1.3: attributes (active), length of the device
    // path, description, device path, optional data.
    let device_path = file_path(path);
    let mut option = 1u32.to_le_bytes().to_vec();
    let length = u16::try_from(device_path.len()).unwrap_or(u16::MAX);
    option.extend(length.to_le_bytes());
    option.extend(utf16("tampered"));
    option.extend(device_path);
    option.extend(utf16(options));
    vec![
        Variable {
            name: "Boot00A0",
            vendor: GLOBAL,
            data: option,
        },
        Variable {
            name: "BootOrder",
            vendor: GLOBAL,
            data: 0x00A0u16.to_le_bytes().to_vec(),
        },
    ]
}

/// A short-form device path: a media file path node, then the end. UEFI Specification 2.10,
/// 10.3.5.4 and 10.3.1.
fn file_path(path: &str) -> Vec<u8> {
    let name = utf16(&format!("\\{}", path.replace('/', "\\")));
    let mut node = vec![4, 4];
    let length = u16::try_from(name.len() + 4).unwrap_or(u16::MAX);
    node.extend(length.to_le_bytes());
    node.extend(name);
    node.extend([0x7F, 0xFF, 4, 0]);
    node
}

/// Sets `variables` in the variables file `file`.
///
/// # Errors
///
/// [`TamperError::Tool`] without virt-fw-vars.
pub fn set(file: &Path, variables: &[Variable]) -> Result<(), TamperError> {
    let list = file.with_extension("json");
    fs::write(&list, to_json(variables).to_string())?;
    let (file, list) = (file.to_string_lossy(), list.to_string_lossy());
    run_tool("virt-fw-vars", &["--inplace", &file, "--set-json", &list])?;
    Ok(())
}

/// virt-fw-vars's JSON form: data in hex.
fn to_json(variables: &[Variable]) -> Value {
    let variables: Vec<_> = variables
        .iter()
        .map(|variable| {
            let data: String = variable.data.iter().map(|b| format!("{b:02x}")).collect();
            json!({
                "name": variable.name,
                "guid": variable.vendor,
                "attr": ATTRIBUTES,
                "data": data,
            })
        })
        .collect();
    json!({"version": 2, "variables": variables})
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_variables_are_text_with_an_end() {
        let variable = Variable::systemd("SystemdOptions", "ab");
        assert_eq!(variable.data, [b'a', 0, b'b', 0, 0, 0]);
    }

    #[test]
    fn file_path_has_the_known_bytes() {
        let expected = [
            4, 4, 10, 0, b'\\', 0, b'a', 0, 0, 0, // node
            0x7F, 0xFF, 4, 0, // end
        ];
        assert_eq!(file_path("a"), expected);
    }

    #[test]
    fn json_has_the_data_in_hex() {
        let json = to_json(&[Variable {
            name: "BootOrder",
            vendor: GLOBAL,
            data: vec![0xA0, 0],
        }]);
        assert_eq!(json["variables"][0]["data"], "a000");
        assert_eq!(json["variables"][0]["attr"], 7);
    }
}
