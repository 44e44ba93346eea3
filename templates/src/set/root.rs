//! The files below a root, reached folder by folder without a symbolic link.
//!
//! Whoever owns a folder on the way, a service perhaps, can turn what is in it into a link; following
//! one would let it choose what root overwrites.
//!
//! I/O: reads and writes below the root.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::destination::Destination;
use crate::OUTPUT_LIMIT;

/// Where destinations are, and where is remembered what was written.
///
/// One process at a time commits to a root.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    state: PathBuf,
}

/// What a destination is now.
pub(super) struct Existing {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
}

/// What a destination becomes.
pub(super) struct New<'f> {
    pub(super) content: &'f str,
    pub(super) mode: u32,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
}

impl Root {
    /// Destinations below `path`; `state` is a folder that lives as long as the destinations do, and
    /// is created if it isn't there, for its owner alone.
    pub fn new(path: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let state = state.into();
        Self { path, state }
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// The text of one of the root's own files, empty if it isn't there.
    pub(super) fn read_table(&self, path: &str) -> io::Result<String> {
        match std::fs::read_to_string(self.path.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    /// What is there; `None` if it is nothing that could be kept.
    pub(super) fn read(&self, file: &Destination) -> io::Result<Option<Existing>> {
        let Some(folder) = self.open_folder(file, false)? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(&folder, file.split().1, flags, Mode::empty()) {
            // A link, and a socket, are replaced.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            opened => File::from(opened?),
        };
        let stat = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR.into()),
            _ => return Ok(None),
        }
        let mut content = Vec::new();
        let limit = (OUTPUT_LIMIT as u64).saturating_mul(2);
        opened.take(limit).read_to_end(&mut content)?;
        Ok(Some(Existing {
            content,
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
            group: stat.st_gid,
        }))
    }

    /// Writes a new file. Until its last two steps only its writer can read it.
    pub(super) fn write(&self, file: &Destination, new: &New<'_>) -> io::Result<()> {
        let folder = self.open_folder(file, true)?.ok_or(Errno::NOENT)?;
        let (_, name) = file.split();
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?;
        let mut opened = File::from(opened);
        opened.write_all(new.content.as_bytes())?;
        // Before it is given away: for what is another's, permissions take one more capability.
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(new.mode))?;
        if new.owner.is_some() || new.group.is_some() {
            let owner = new.owner.map(Uid::from_raw);
            rustix::fs::fchown(&opened, owner, new.group.map(Gid::from_raw))?;
        }
        opened.sync_all()?;
        Ok(rustix::fs::fsync(&folder)?)
    }

    /// Puts a complete file where it belongs. False if it is not there, perhaps no more.
    pub(super) fn swap(&self, staged: &Destination, file: &Destination) -> io::Result<bool> {
        let Some(folder) = self.open_folder(file, false)? else {
            return Ok(false);
        };
        match rustix::fs::renameat(&folder, staged.split().1, &folder, file.split().1) {
            Ok(()) => {
                rustix::fs::fsync(&folder)?;
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, file: &Destination) -> io::Result<()> {
        let Some(folder) = self.open_folder(file, false)? else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&folder, file.split().1, AtFlags::empty()) {
            Ok(()) => Ok(rustix::fs::fsync(&folder)?),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder of a file; `None` if it isn't there and is not to be made.
    fn open_folder(&self, file: &Destination, make: bool) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
        let flags = flags | OFlags::NOFOLLOW;
        for name in file.split().0 {
            folder = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o700)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    let made = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
                    // Whatever the umask: services look for their files in it.
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                    made
                }
                Err(Errno::NOENT) => return Ok(None),
                opened => opened?,
            };
        }
        Ok(Some(folder))
    }
}
