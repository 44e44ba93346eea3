//! The EFI system partition: the file that firmware starts, and what must not lie beside it.
//!
//! I/O: reads FAT metadata, and small files.

use std::io::{Read, Seek};

use super::fat::Fat;
use super::window::Window;
use super::{BootChainError, ImageError, Partition};
use crate::source::{Content, Source};

/// What firmware starts on x86-64 if it was not told otherwise: UEFI 2.10, 3.5.1.1 "Removable Media
/// Boot Behavior".
pub(super) const FALLBACK: [&str; 3] = ["EFI", "BOOT", "BOOTX64.EFI"];

/// Directories in which systemd-stub looks for additions wherever the UKI lies (systemd v257
/// `src/boot/stub.c`, `load_all_addons` and `generate_sidecar_initrds`), and the suffixes of what
/// it takes there.
const SIDECARS: [(&[&str], &[&str]); 3] = [
    (&["loader", "addons"], &[".addon.efi"]),
    (&["loader", "credentials"], &[".cred"]),
    (&["loader", "extensions"], &[".raw"]),
];

/// What the stub takes from the directory `NAME.efi.extra.d` beside the UKI, where `NAME` may have
/// lost its boot counters: systemd v257 `src/boot/stub.c`, `get_extra_dir`.
const OWN_FOLDER: &str = ".extra.d";
const OWN_SIDECARS: [&str; 3] = [".addon.efi", ".cred", ".raw"];

/// Where systemd-boot looks for drivers to load, and how their names end: systemd v257
/// `src/boot/drivers.c`, `load_drivers`.
const DRIVERS: [&str; 3] = ["EFI", "systemd", "drivers"];
const DRIVER: &str = "x64.efi";

/// Where it looks for sets of Secure Boot keys: systemd v257 `src/boot/boot.c`,
/// `secure_boot_discover_keys`.
const KEYS: [&str; 2] = ["loader", "keys"];
const KEY: &str = ".auth";

/// What systemd-stub mixes into the secret that it adds to the initrd, and how many bytes that must
/// have: systemd v262 `src/boot/boot-secret.c`.
const MIXIN: [&str; 2] = ["loader", "boot-secret-mixin"];
const MIXIN_SIZE: u64 = 32;

/// An EFI system partition.
pub(super) struct Esp<'s, R> {
    source: &'s mut Source<R>,
    partition: &'s Partition,
}

impl<'s, R: Read + Seek> Esp<'s, R> {
    pub(super) fn new(source: &'s mut Source<R>, partition: &'s Partition) -> Self {
        Self { source, partition }
    }

    fn open(&mut self) -> Result<Fat<'_, R>, ImageError> {
        let window = Window::whole(self.source);
        let window = window.part(self.partition.start, self.partition.size)?;
        Ok(Fat::open(window)?)
    }

    /// Finds out where a file that will be started lies.
    pub(super) fn locate(&mut self, path: &[&str]) -> Result<Content, ImageError> {
        Ok(self.open()?.locate_file(path, crate::pe::MAX_SIZE)?)
    }

    /// Reads a small file; `None` if it is not there.
    pub(super) fn read(
        &mut self,
        path: &[&str],
        limit: u64,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        let mut fat = self.open()?;
        if !fat.has_file(path)? {
            return Ok(None);
        }
        let content = fat.locate_file(path, limit)?;
        Ok(Some(self.source.read(&content)?))
    }

    /// The names of the files in a directory; none if it is not there.
    pub(super) fn file_names(&mut self, directory: &[&str]) -> Result<Vec<String>, ImageError> {
        let names = self.open()?.file_names(directory)?;
        let is_odd = |name: &&String| {
            name.contains(|c: char| c.is_control() || "\\/:".contains(c))
                || name.trim_matches([' ', '.']) != name.as_str()
        };
        match names.iter().find(is_odd) {
            Some(name) => {
                let path = format!("{}/{name}", directory.join("/"));
                Err(BootChainError::OddName { path }.into())
            }
            None => Ok(names),
        }
    }

    /// Says whether there is a file that keeps the stub from making a boot secret: one that is too
    /// short to be mixed in (`prepare_boot_secret`).
    pub(super) fn forbids_boot_secret(&mut self) -> Result<bool, ImageError> {
        let mut fat = self.open()?;
        if !fat.has_file(&MIXIN)? {
            return Ok(false);
        }
        let size = fat.locate_file(&MIXIN, crate::pe::MAX_SIZE)?.size();
        Ok((1..MIXIN_SIZE).contains(&size))
    }

    /// Refuses what the stub would add to the UKI at `path`.
    pub(super) fn refuse_sidecars(&mut self, path: &[&str]) -> Result<(), ImageError> {
        let mut fat = self.open()?;
        for (directory, suffixes) in SIDECARS {
            refuse(&mut fat, directory, suffixes, "systemd-stub")?;
        }
        // Which of them belongs to the UKI depends on the stub's version and on boot counters.
        let folder = path.split_last().map_or(path, |(_, folder)| folder);
        for name in fat.directory_names(folder)? {
            if name.to_ascii_lowercase().ends_with(OWN_FOLDER) {
                let directory: Vec<&str> = folder.iter().copied().chain([name.as_str()]).collect();
                refuse(&mut fat, &directory, &OWN_SIDECARS, "systemd-stub")?;
            }
        }
        Ok(())
    }

    /// Refuses drivers that systemd-boot would load, which firmware measures, and keys that it would
    /// enrol, so that Secure Boot is on afterwards.
    pub(super) fn refuse_drivers_and_keys(&mut self) -> Result<(), ImageError> {
        let mut fat = self.open()?;
        refuse(&mut fat, &DRIVERS, &[DRIVER], "systemd-boot")?;
        for name in fat.directory_names(&KEYS)? {
            let directory: Vec<&str> = KEYS.into_iter().chain([name.as_str()]).collect();
            refuse(&mut fat, &directory, &[KEY], "systemd-boot")?;
        }
        Ok(())
    }
}

fn refuse<R: Read + Seek>(
    fat: &mut Fat<'_, R>,
    directory: &[&str],
    suffixes: &[&str],
    by: &'static str,
) -> Result<(), ImageError> {
    for name in fat.list(directory)? {
        let lower = name.to_ascii_lowercase();
        if suffixes.iter().any(|suffix| lower.ends_with(suffix)) {
            let path = format!("{}/{name}", directory.join("/"));
            return Err(BootChainError::Sidecar { path, by }.into());
        }
    }
    Ok(())
}
