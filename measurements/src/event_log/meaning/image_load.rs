//! UEFI_IMAGE_LOAD_EVENT: a program or driver that firmware loaded.
//!
//! I/O: none.

use std::fmt;

use super::device_path;
use crate::bytes::{slice, u64_le};

/// What the log says about an image. Where it was in memory does not matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLoad {
    /// Bytes of the image.
    pub length: u64,
    /// Where it was loaded from: the device path as text, escaped.
    pub path: String,
    /// The file's path, if it was one: `\EFI\BOOT\BOOTX64.EFI`, escaped.
    pub file: Option<String>,
    /// Whether it is what systemd-stub hands to the firmware: the kernel inside of the UKI.
    pub is_stub_payload: bool,
}

impl ImageLoad {
    /// Location 8, length 8, link time address 8, length of device path 8, device path.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let length = u64_le(data, 8)?;
        let path = slice(data, 32, usize::try_from(u64_le(data, 24)?).ok()?)?;
        Some(Self {
            length,
            path: device_path::describe(path),
            file: device_path::file(path),
            is_stub_payload: device_path::is_stub_payload(path),
        })
    }
}

impl fmt::Display for ImageLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.is_stub_payload) {
            (_, true) => f.write_str("the kernel inside of the UKI")?,
            (Some(file), _) => f.write_str(file)?,
            (None, _) if self.path.is_empty() => f.write_str("an image without a device path")?,
            (None, _) => f.write_str(&self.path)?,
        }
        write!(f, " ({} bytes)", self.length)
    }
}
