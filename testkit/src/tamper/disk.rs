//! Copies of disk images with something changed, and disks that an attacker adds.
//!
//! I/O: copies images (sparse), writes into the copies, runs cp, sgdisk and mkfs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::TamperError;
use crate::child::run_tool;

/// A fixed VHD ends in a footer of one sector: Microsoft, Virtual Hard Disk Image Format
/// Specification.
const VHD_FOOTER: u64 = 512;

/// Copies `image` to `copy` without writing its holes.
///
/// # Errors
///
/// [`TamperError`] if it cannot be copied.
pub fn copy(image: &Path, copy: &Path) -> Result<(), TamperError> {
    let (from, to) = (image.to_string_lossy(), copy.to_string_lossy());
    run_tool(
        "cp",
        &["--sparse=always", "--reflink=auto", "--", &from, &to],
    )?;
    Ok(())
}

/// Copies the disk in a fixed VHD to the raw image `copy` and adds `room` bytes at its end.
///
/// # Errors
///
/// [`TamperError`] if it cannot be copied.
pub fn copy_with_room(vhd: &Path, raw: &Path, room: u64) -> Result<(), TamperError> {
    copy(vhd, raw)?;
    let file = OpenOptions::new().write(true).open(raw)?;
    let disk = file.metadata()?.len().saturating_sub(VHD_FOOTER);
    file.set_len(disk)?;
    file.set_len(disk + room)?;
    Ok(())
}

/// Flips the lowest bit of the byte at `offset`.
///
/// # Errors
///
/// [`TamperError`] if the image ends before.
pub fn flip(image: &Path, offset: u64) -> Result<(), TamperError> {
    let file = OpenOptions::new().read(true).write(true).open(image)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&byte.map(|value| value ^ 1), offset)?;
    Ok(())
}

/// A partition for [`partition`]: sgdisk's type code, name, and the image of its file system.
#[derive(Clone, Copy, Debug)]
pub struct NewPartition<'a> {
    /// sgdisk's code or a type GUID.
    pub type_code: &'a str,
    /// The partition's name, which is also its label in `/dev/disk/by-partlabel`.
    pub name: &'a str,
    /// What is in it.
    pub content: &'a Path,
}

/// Adds partitions at the end of `disk`, whose partition table is made if it has none.
///
/// # Errors
///
/// [`TamperError`] if they do not fit.
pub fn partition(disk: &Path, partitions: &[NewPartition<'_>]) -> Result<(), TamperError> {
    let name = disk.to_string_lossy();
    // The backup table moves to the end of what may have grown.
    run_tool("sgdisk", &["--move-second-header", &name])?;
    for partition in partitions {
        let content = fs::read(partition.content)?;
        let kib = content.len().div_ceil(1024);
        let new = format!("--new=0:0:+{kib}K");
        let kind = format!("--typecode=0:{}", partition.type_code);
        let label = format!("--change-name=0:{}", partition.name);
        run_tool("sgdisk", &[&new, &kind, &label, &name])?;
        let offset = offset_of(disk, partition.name)?;
        let file = OpenOptions::new().write(true).open(disk)?;
        file.write_all_at(&content, offset)?;
    }
    Ok(())
}

/// Makes an empty file of `length` bytes for a disk.
///
/// # Errors
///
/// [`TamperError`] if it cannot be made.
pub fn blank(path: &Path, length: u64) -> Result<(), TamperError> {
    File::create(path)?.set_len(length)?;
    Ok(())
}

/// Where the partition called `name` begins: `sgdisk --print` has a line for each, `Number Start
/// End Size Unit Code Name`, in sectors.
fn offset_of(disk: &Path, name: &str) -> Result<u64, TamperError> {
    let table = run_tool("sgdisk", &["--print", &disk.to_string_lossy()])?;
    String::from_utf8_lossy(&table)
        .lines()
        .filter(|line| line.trim_end().ends_with(name))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map(|sector| sector * 512)
        .next_back()
        .ok_or(TamperError::NothingThere("sgdisk made no partition"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_flipped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        fs::write(&path, [7, 7, 7]).unwrap();
        flip(&path, 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7, 6, 7]);
        assert!(flip(&path, 3).is_err());
    }

    #[test]
    fn raw_copy_loses_the_footer_and_gets_room() {
        let directory = tempfile::tempdir().unwrap();
        let vhd = directory.path().join("a.vhd");
        let raw = directory.path().join("a.raw");
        let mut bytes = vec![1; 1024];
        bytes.extend([2; 512]);
        fs::write(&vhd, bytes).unwrap();
        copy_with_room(&vhd, &raw, 100).unwrap();
        let raw = fs::read(&raw).unwrap();
        assert_eq!(raw.len(), 1124);
        assert!(!raw.contains(&2));
    }
}
