//! The EFI system partition: the file that firmware starts, and what must not lie beside it.
//!
//! I/O: reads FAT metadata and the UKI.

use std::io::{Read, Seek};

use super::ImageError;
use super::fat::Fat;
use super::window::Window;

/// What firmware starts on x86-64 if it was not told otherwise: UEFI 2.10, 3.5.1.1 "Removable Media
/// Boot Behavior".
const UKI: [&str; 3] = ["EFI", "BOOT", "BOOTX64.EFI"];

/// Directories in which systemd-stub looks for additions (systemd v257 `src/boot/stub.c`,
/// `load_all_addons` and `generate_sidecar_initrds`), and the suffixes of what it takes there.
const SIDECARS: [(&[&str], &[&str]); 4] = [
    (
        &["EFI", "BOOT", "BOOTX64.EFI.extra.d"],
        &[".addon.efi", ".cred", ".raw"],
    ),
    (&["loader", "addons"], &[".addon.efi"]),
    (&["loader", "credentials"], &[".cred"]),
    (&["loader", "extensions"], &[".raw"]),
];

/// Reads the UKI's bytes.
///
/// # Errors
///
/// [`ImageError`] if the file system is damaged, has no UKI, or has additions to it.
pub(super) fn read_uki<R: Read + Seek>(partition: Window<'_, R>) -> Result<Vec<u8>, ImageError> {
    let mut fat = Fat::open(partition)?;
    for (directory, suffixes) in SIDECARS {
        for name in fat.list(directory)? {
            let lower = name.to_ascii_lowercase();
            if suffixes.iter().any(|suffix| lower.ends_with(suffix)) {
                let path = format!("{}/{name}", directory.join("/"));
                return Err(ImageError::Sidecar { path });
            }
        }
    }
    Ok(fat.read_file(&UKI, crate::pe::MAX_SIZE)?)
}
