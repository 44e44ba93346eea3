//! What is on a disk: nothing, or what somebody else has left there.
//!
//! I/O: writes images; runs mkfs.ext4, sgdisk, cryptsetup.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::DataDisk;
use crate::child::{ToolError, run_tool};
use crate::tamper::TamperError;
use crate::tamper::disk::copy;

const SECTOR: u64 = 512;

/// Why a disk could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The image's file failed.
    #[error("write the disk's image")]
    Io(#[from] io::Error),

    /// A program that writes to it is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),

    /// Another disk could not be copied.
    #[error(transparent)]
    Copy(#[from] TamperError),

    /// A disk has whole sectors, at least one.
    #[error("{0} bytes are not whole sectors of 512")]
    Size(u64),

    /// A disk that is copied has a size already.
    #[error("{path} has {actual} bytes, and the disk {expected}")]
    OtherSize {
        /// The disk to be copied.
        path: PathBuf,
        /// The size that was asked for.
        expected: u64,
        /// Its own.
        actual: u64,
    },
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Zeros.
    Blank,
    /// Noise in every sector, as ciphertext without a header is.
    Noise,
    /// Zeros but for one sector of noise, here: what a look at the beginning alone misses.
    NoiseAt(u64),
    /// Somebody's ext4 file system.
    Ext4,
    /// Somebody's partition table (GPT) with one partition.
    PartitionTable,
    /// A LUKS2 header under a key that nobody has.
    Luks2,
    /// A copy of this image, which must have the disk's size.
    CopyOf(PathBuf),
}

impl DataDisk {
    /// Makes the disk's image at `path`, unless there is one: a disk outlives its machine.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; what was begun is removed.
    pub fn make(&self, path: &Path) -> Result<(), DiskError> {
        if path.exists() {
            return Ok(());
        }
        if self.size == 0 || !self.size.is_multiple_of(SECTOR) {
            return Err(DiskError::Size(self.size));
        }
        let made = self.write(path);
        if made.is_err() {
            // If it was not even begun, there is nothing to remove.
            let _ = fs::remove_file(path);
        }
        made
    }

    fn write(&self, path: &Path) -> Result<(), DiskError> {
        if let Content::CopyOf(original) = &self.content {
            let actual = fs::metadata(original)?.len();
            if actual != self.size {
                return Err(DiskError::OtherSize {
                    path: original.clone(),
                    expected: self.size,
                    actual,
                });
            }
            return Ok(copy(original, path)?);
        }
        let mut file = File::create(path)?;
        file.set_len(self.size)?;
        let name = path.to_string_lossy();
        let run = |program: &str, arguments: &[&str]| {
            run_tool(program, &[arguments, &[name.as_ref()]].concat()).map(drop)
        };
        match &self.content {
            Content::Blank | Content::CopyOf(_) => {}
            Content::Noise => {
                let mut noise = Noise::new();
                let mut out = BufWriter::new(file);
                for _ in 0..self.size / SECTOR {
                    out.write_all(&noise.sector())?;
                }
                out.flush()?;
            }
            Content::NoiseAt(offset) => {
                io::Seek::seek(&mut file, io::SeekFrom::Start(*offset))?;
                let room = self.size.saturating_sub(*offset).min(SECTOR);
                let length = usize::try_from(room).unwrap_or_default();
                file.write_all(Noise::new().sector().get(..length).unwrap_or_default())?;
            }
            Content::Ext4 => run("mkfs.ext4", &["-q", "-F", "-L", "foreign"])?,
            Content::PartitionTable => run("sgdisk", &["--largest-new=1"])?,
            Content::Luks2 => run(
                "cryptsetup",
                &[
                    "luksFormat",
                    "--batch-mode",
                    "--disable-locks",
                    "--type=luks2",
                    // Whoever looks at the header must not wait for a slow key derivation.
                    "--pbkdf=pbkdf2",
                    "--pbkdf-force-iterations=1000",
                    "--key-file=/dev/urandom",
                    "--keyfile-size=64",
                ],
            )?,
        }
        Ok(())
    }
}

/// Bytes without a pattern, the same each time (xorshift64).
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn sector(&mut self) -> [u8; 512] {
        let mut sector = [0; 512];
        for word in sector.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
        sector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needed;

    const SIZE: u64 = 24 << 20;

    fn make(content: Content) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.raw");
        let disk = DataDisk {
            size: SIZE,
            content,
            ..DataDisk::default()
        };
        disk.make(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, SIZE);
        bytes
    }

    fn is_zero(bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| *byte == 0)
    }

    #[test]
    fn blank_disk_is_zero() {
        assert!(is_zero(&make(Content::Blank)));
    }

    #[test]
    fn noise_is_in_every_sector() {
        let bytes = make(Content::Noise);
        assert!(!bytes.chunks(16).any(is_zero));
        assert_ne!(bytes[..512], bytes[512..1024]);
    }

    #[test]
    fn noise_in_one_sector_is_nowhere_else() {
        let at = 20 << 20;
        let bytes = make(Content::NoiseAt(at as u64));
        assert!(is_zero(&bytes[..at]) && is_zero(&bytes[at + 512..]));
        assert!(!is_zero(&bytes[at..at + 8]));
    }

    #[test]
    fn foreign_data_can_be_told_by_their_signatures() {
        if !needed::programs(&["mkfs.ext4", "sgdisk", "cryptsetup"]) {
            return;
        }
        let ext4 = make(Content::Ext4);
        assert_eq!(ext4[1080..1082], [0x53, 0xef]);
        let gpt = make(Content::PartitionTable);
        assert_eq!(&gpt[512..520], b"EFI PART");
        let luks = make(Content::Luks2);
        assert_eq!(&luks[..8], b"LUKS\xba\xbe\0\x02");
    }

    #[test]
    fn disk_that_is_there_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.raw");
        fs::write(&path, b"kept").unwrap();
        DataDisk::default().make(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn impossible_disks_are_refused_and_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.raw");
        let odd = DataDisk {
            size: 1000,
            ..DataDisk::default()
        };
        assert!(matches!(odd.make(&path), Err(DiskError::Size(1000))));
        let original = directory.path().join("original");
        fs::write(&original, [0; 512]).unwrap();
        let other = DataDisk {
            content: Content::CopyOf(original),
            ..DataDisk::default()
        };
        let error = other.make(&path).unwrap_err();
        assert!(matches!(error, DiskError::OtherSize { actual: 512, .. }));
        assert!(!path.exists());
    }
}
