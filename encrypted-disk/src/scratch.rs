//! A folder in memory for headers: nothing in it was, or ever is, on the disk.
//!
//! I/O: makes, fills and removes the folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::layout::{HEADER_BYTES, LEAST_BYTES};

/// tmpfs, as `statfs` says it; ramfs would do too.
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6_u32 as i64;

/// What the folders' names begin with; 16 hexadecimal digits follow.
const PREFIX: &str = "disk-header-";

/// A private folder, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below `parent`, which has to be in memory.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        let kind = rustix::fs::statfs(parent)?.f_type;
        if kind != TMPFS && kind != RAMFS {
            let text = "not a file system in memory";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut random = [0; 8];
        let failed = |_| io::Error::other("no random numbers");
        SystemRandom::new().fill(&mut random).map_err(failed)?;
        let name = format!("{PREFIX}{:016x}", u64::from_le_bytes(random));
        let folder = parent.join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    /// A file with this header.
    pub(crate) fn header(&self, header: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join("header");
        create(&path)?.write_all(header)?;
        Ok(path)
    }

    /// A blank header, and a disk that stands for the real one while a header is made: it takes no room.
    pub(crate) fn blank(&self) -> io::Result<(PathBuf, PathBuf)> {
        let (header, disk) = (self.0.join("header"), self.0.join("disk"));
        create(&header)?.set_len(HEADER_BYTES as u64)?;
        create(&disk)?.set_len(LEAST_BYTES)?;
        Ok((header, disk))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in memory, private, and has no secret: what cannot be removed goes with the machine.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders that a process which was killed has left below `parent`. Not while another one works on a disk.
///
/// # Errors
///
/// Some may be left.
pub fn sweep(parent: &Path) -> io::Result<usize> {
    let mut removed: usize = 0;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours =
            digits.is_some_and(|it| it.len() == 16 && it.bytes().all(|it| it.is_ascii_hexdigit()));
        // A link is none, and is not followed.
        if is_ours && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}

/// Reads back a header that a program has changed.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    // One byte more shows that it is longer.
    let most = (HEADER_BYTES as u64).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut header)?;
    Ok(header)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MEMORY: &str = "/dev/shm";

    #[test]
    fn folder_is_private_and_goes() {
        let scratch = Scratch::new(Path::new(MEMORY)).unwrap();
        let path = scratch.header(b"header").unwrap();
        assert_eq!(read(&path).unwrap(), b"header");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&scratch.0), mode(&path)), (0o700, 0o600));
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir_in(MEMORY).unwrap();
        let path = |name: &str| parent.path().join(name);
        let left = Scratch::new(parent.path()).unwrap();
        left.header(b"header").unwrap();
        // Not dropped, as by SIGKILL.
        std::mem::forget(left);
        let others = [
            "disk-header-",
            "disk-header-0123",
            "disk-header-0123456789abcdeg",
            "x",
        ];
        for name in others {
            fs::create_dir(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path("x"), path("disk-header-0123456789abcdef")).unwrap();
        fs::write(path("disk-header-0123456789abcde0"), "").unwrap();
        assert_eq!(sweep(parent.path()).unwrap(), 1);
        assert_eq!(
            fs::read_dir(parent.path()).unwrap().count(),
            others.len() + 2
        );
        assert_eq!(sweep(parent.path()).unwrap(), 0);
        assert!(sweep(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn folder_on_a_disk_is_refused() {
        // No machine has /proc in tmpfs.
        let error = Scratch::new(Path::new("/proc")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
