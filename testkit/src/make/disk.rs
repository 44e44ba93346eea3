//! A disk with nothing but an EFI System Partition.
//!
//! I/O: runs sgdisk, mkfs.vfat and mtools on the disk.

use std::fs::{self, File};
use std::path::Path;

use super::MakeError;
use crate::child::run_tool;
use crate::tamper::esp::Esp;

const MIB: u64 = 1 << 20;
/// Where the partition begins, in sectors of 512 bytes.
const START: u64 = 2048;
/// What the file system needs beside the files' contents.
const ROOM: u64 = 4 * MIB;

/// A file to be put on the partition.
#[derive(Clone, Copy, Debug)]
pub struct EspFile<'a> {
    /// Its path there, such as `EFI/BOOT/BOOTX64.EFI`.
    pub path: &'a str,
    /// Where its contents are.
    pub contents: &'a Path,
}

/// Makes the raw disk `disk`, whose GUIDs are random, with these files.
///
/// # Errors
///
/// [`MakeError`] without sgdisk, mkfs.vfat or mtools.
pub fn disk(disk: &Path, files: &[EspFile<'_>]) -> Result<(), MakeError> {
    let mut contents = 0;
    for file in files {
        contents += fs::metadata(file.contents)?.len();
    }
    let size = partition_size(contents);
    File::create(disk)?.set_len(START * 512 + size + MIB)?;
    let name = disk.to_string_lossy();
    let new = format!("--new=1:{START}:+{}K", size / 1024);
    run_tool(
        "sgdisk",
        &[&new, "--typecode=1:ef00", "--change-name=1:esp", &name],
    )?;
    let offset = format!("--offset={START}");
    let blocks = (size / 1024).to_string();
    run_tool("mkfs.vfat", &[&offset, &name, &blocks])?;
    let esp = Esp::of(disk)?;
    for file in files {
        esp.write(file.contents, file.path)?;
    }
    Ok(())
}

/// Whole MiB, enough for files of so many bytes.
fn partition_size(contents: u64) -> u64 {
    (contents + ROOM).next_multiple_of(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_has_room_beside_the_files() {
        assert_eq!(partition_size(0), 4 * MIB);
        assert_eq!(partition_size(1), 5 * MIB);
        assert_eq!(partition_size(20 * MIB), 24 * MIB);
    }
}
