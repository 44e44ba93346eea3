//! Files on the EFI System Partition, and what an attacker would put there.
//!
//! systemd-stub picks up, beside the image it is in (systemd-stub(7)): add-ons, credentials and
//! extension images in `EFI/BOOT/BOOTX64.EFI.extra.d`, add-ons in `loader/addons`, credentials in
//! `loader/credentials`.
//!
//! I/O: runs mtools on images, ukify and mkfs.erofs on temporary files.

use std::fs;
use std::path::{Path, PathBuf};

use super::TamperError;
use super::gpt::{self, ESP};
use crate::child::run_tool;

/// The unified kernel image on the partition.
pub const UKI: &str = "EFI/BOOT/BOOTX64.EFI";
/// Where the stub looks for what belongs to that image alone.
pub const EXTRA: &str = "EFI/BOOT/BOOTX64.EFI.extra.d";
/// Where the stub looks for add-ons of all images.
pub const ADDONS: &str = "loader/addons";
/// Where the stub looks for credentials of all images.
pub const CREDENTIALS: &str = "loader/credentials";
/// The stub of add-ons, from Debian's `systemd-boot-efi`.
const ADDON_STUB: &str = "/usr/lib/systemd/boot/efi/addonx64.efi.stub";

/// The EFI System Partition of a disk image.
#[derive(Debug)]
pub struct Esp {
    /// `image@@offset`, as mtools calls it.
    drive: String,
}

impl Esp {
    /// Finds the partition in `image`.
    ///
    /// # Errors
    ///
    /// [`TamperError::NoPartition`] if there is none.
    pub fn of(image: &Path) -> Result<Self, TamperError> {
        let partition = gpt::find(image, ESP)?;
        let drive = format!("{}@@{}", image.display(), partition.offset);
        Ok(Self { drive })
    }

    /// Copies `path` out of the partition.
    ///
    /// # Errors
    ///
    /// [`TamperError::Tool`] if it is not there.
    pub fn read(&self, path: &str, to: &Path) -> Result<(), TamperError> {
        let (from, to) = (format!("::/{path}"), to.to_string_lossy());
        run_tool("mcopy", &["-n", "-o", "-i", &self.drive, &from, &to])?;
        Ok(())
    }

    /// Puts `file` at `path`, with all directories above it, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`TamperError::Tool`] if it does not fit.
    pub fn write(&self, file: &Path, path: &str) -> Result<(), TamperError> {
        for directory in parents(path) {
            let directory = format!("::/{directory}");
            if run_tool("mdir", &["-b", "-i", &self.drive, &directory]).is_err() {
                run_tool("mmd", &["-i", &self.drive, &directory])?;
            }
        }
        let (from, to) = (file.to_string_lossy(), format!("::/{path}"));
        run_tool("mcopy", &["-o", "-i", &self.drive, &from, &to])?;
        Ok(())
    }
}

/// The directories above `path`, from the top.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/')
        .filter_map(|(end, _)| path.get(..end))
}

/// Flips a bit in the operating system's name in the image's `.osrel` section: measured, but
/// without influence on whether it boots.
///
/// # Errors
///
/// [`TamperError::NothingThere`] if there is no such section.
pub fn flip_uki(image: &Path, scratch: &Path) -> Result<(), TamperError> {
    let esp = Esp::of(image)?;
    let file = scratch.join("flipped.efi");
    esp.read(UKI, &file)?;
    let mut bytes = fs::read(&file)?;
    flip_name(&mut bytes)?;
    fs::write(&file, bytes)?;
    esp.write(&file, UKI)
}

fn flip_name(uki: &mut [u8]) -> Result<(), TamperError> {
    let key = b"PRETTY_NAME=\"";
    let name = uki
        .windows(key.len())
        .position(|window| window == key)
        .and_then(|position| uki.get_mut(position + key.len()))
        .ok_or(TamperError::NothingThere("no PRETTY_NAME in the image"))?;
    *name ^= 1;
    Ok(())
}

/// Builds an add-on that adds `command_line`.
///
/// # Errors
///
/// [`TamperError::Tool`] without ukify or the stub.
pub fn addon(command_line: &str, file: &Path) -> Result<(), TamperError> {
    let file = format!("--output={}", file.display());
    let command_line = format!("--cmdline={command_line}");
    let stub = format!("--stub={ADDON_STUB}");
    run_tool("ukify", &["build", &stub, &command_line, &file])?;
    Ok(())
}

/// Builds an extension image that adds a unit `<name>.service` and has it wanted at boot.
///
/// `hierarchy` is `usr` for a system extension and `etc` for a configuration extension.
///
/// # Errors
///
/// [`TamperError::Tool`] without mkfs.erofs.
pub fn extension(
    hierarchy: &str,
    name: &str,
    unit: &str,
    scratch: &Path,
) -> Result<PathBuf, TamperError> {
    let tree = scratch.join(format!("{name}.tree"));
    let (units, release) = match hierarchy {
        "etc" => ("etc/systemd/system", "etc/extension-release.d"),
        _ => ("usr/lib/systemd/system", "usr/lib/extension-release.d"),
    };
    let wants = tree.join(units).join("sysinit.target.wants");
    fs::create_dir_all(&wants)?;
    fs::create_dir_all(tree.join(release))?;
    let release = tree.join(release).join(format!("extension-release.{name}"));
    fs::write(release, "ID=_any\n")?;
    let service = format!("{name}.service");
    fs::write(tree.join(units).join(&service), unit)?;
    std::os::unix::fs::symlink(format!("../{service}"), wants.join(&service))?;
    let image = scratch.join(format!("{name}.raw"));
    run_tool(
        "mkfs.erofs",
        &[&image.to_string_lossy(), &tree.to_string_lossy()],
    )?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_from_the_top() {
        let parents: Vec<_> = parents("EFI/BOOT/x.extra.d/a.cred").collect();
        assert_eq!(parents, ["EFI", "EFI/BOOT", "EFI/BOOT/x.extra.d"]);
    }

    #[test]
    fn one_letter_of_the_name_is_flipped() {
        let mut uki = b"...ID=x\nPRETTY_NAME=\"Debian\"\n".to_vec();
        flip_name(&mut uki).unwrap();
        assert_eq!(uki, b"...ID=x\nPRETTY_NAME=\"Eebian\"\n");
        assert!(flip_name(&mut [0; 8]).is_err());
    }
}
