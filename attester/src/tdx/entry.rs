//! One request to the kernel: a directory with attributes.
//!
//! I/O: configfs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names to try; another program, or an earlier one of this process id, may have left some.
const MOST_NAMES: u32 = 64;

/// Attributes of a request, read and written as configfs does: each time anew, and as a whole.
pub(super) trait Entry {
    fn write(&mut self, attribute: &str, value: &[u8]) -> io::Result<()>;

    /// Reads a value of at most `most` bytes.
    fn read(&mut self, attribute: &str, most: usize) -> io::Result<Vec<u8>>;
}

/// A request of our own, which is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes a request with a name that nobody else has.
    pub(super) fn create(reports: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::create_with(reports, || NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a request with the first of these numbers whose name nobody else has.
    pub(super) fn create_with(reports: &Path, mut next: impl FnMut() -> u64) -> io::Result<Self> {
        let mut tried = 0_u32;
        loop {
            let number = next();
            let path = reports.join(format!("attester-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tried < MOST_NAMES => {}
                Err(error) => return Err(error),
            }
            tried = tried.saturating_add(1);
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // In configfs the attributes go with it. What cannot be removed has nobody to tell.
        let _ = fs::remove_dir(&self.0);
    }
}

impl Entry for Directory {
    fn write(&mut self, attribute: &str, value: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .open(self.0.join(attribute))?;
        // Configfs takes a binary attribute when the file is closed, and would lose the error; but
        // `inblob` has a fixed largest size, which the write itself is checked against.
        file.write_all(value)
    }

    fn read(&mut self, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.0.join(attribute))?;
        let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let mut value = Vec::new();
        file.take(bound).read_to_end(&mut value)?;
        match value.len() > most {
            true => Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("more than {most} bytes"),
            )),
            false => Ok(value),
        }
    }
}
