//! An open disk: reads, and writes that are on the disk when they are said to be.
//!
//! I/O: opens, reads and writes the device.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::find::Disk;

/// What one wants to do with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Look at it while nobody else uses it: neither a file system nor a mapping.
    ReadAlone,
    /// Write to it while nobody else uses it.
    WriteAlone,
    /// Write to it beside our own mapping, which leaves the beginning alone.
    WriteBeside,
}

/// An open disk.
#[derive(Debug)]
pub(crate) struct Device(File);

impl Device {
    /// Opens the disk that was found, or none.
    pub(crate) fn open(disk: &Disk, access: Access) -> io::Result<Self> {
        let alone = match access {
            // The kernel refuses it for block devices that are mounted or mapped.
            Access::ReadAlone | Access::WriteAlone => OFlags::EXCL,
            Access::WriteBeside => OFlags::empty(),
        };
        let flags = i32::try_from(alone.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .write(access != Access::ReadAlone)
            .custom_flags(flags)
            .open(&disk.device)?;
        // What has been the same disk from when it was found until now was so when it was opened. An open
        // disk stays itself, even if another one gets its name.
        if !disk.is_there() {
            let text = "another disk has its name, or none";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Self(file))
    }
}

impl Read for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Device {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Waits until the disk has everything, and its cache is written.
    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Reads so many bytes from there.
pub(crate) fn read_at(
    device: &mut (impl Read + Seek),
    offset: u64,
    bytes: usize,
) -> io::Result<Vec<u8>> {
    device.seek(SeekFrom::Start(offset))?;
    let mut buffer = vec![0; bytes];
    device.read_exact(&mut buffer)?;
    Ok(buffer)
}
