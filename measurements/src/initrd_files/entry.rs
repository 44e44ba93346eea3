//! One entry of an archive: a header of 110 bytes in hexadecimal, the path, the contents.
//!
//! Mirrors Linux v6.12 `init/initramfs.c` (`parse_header`, `do_header`, `do_name`, `do_symlink`,
//! `do_copy`) and its `Documentation/driver-api/early-userspace/buffer-format.rst`. Stricter where
//! the kernel skips an entry: a path that is too long, numbers that are not hexadecimal.
//!
//! I/O: none.

use sha2::{Digest as _, Sha256};

use super::input::Input;
use super::links::HardLinks;
use super::{ArchiveError, MAX_PATH, text};
use crate::{Digest, Sha256Digest};

const HEADER_SIZE: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// `S_IFMT` and what it may be.
const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// A file, directory, link or device in an initrd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the root, without `./` and the like; what is not printable is escaped, and
    /// different paths have different texts.
    pub path: String,
    /// Which archive it is in, as an index. The archive that [`super::Listing::unreadable`] begins
    /// with is the one after the last.
    pub archive: usize,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it was changed, in seconds since 1970.
    pub mtime: u32,
    /// Which device it stands for (major, minor), if it does.
    pub device: (u32, u32),
    /// Bytes of contents. A hard link has those of the file.
    pub size: u64,
    /// The digest of the contents.
    pub sha256: Sha256Digest,
    /// Where a symbolic link points to; escaped like the path.
    pub target: Option<String>,
}

impl Entry {
    /// Says whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & TYPE_MASK == DIRECTORY
    }

    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self.mode & TYPE_MASK {
            REGULAR => "file",
            DIRECTORY => "directory",
            SYMLINK => "symbolic link",
            0o020_000 => "character device",
            0o060_000 => "block device",
            0o010_000 => "pipe",
            0o140_000 => "socket",
            _ => "file of an unknown type",
        }
    }
}

/// Reads one entry and appends it to `entries`; says `false` if it was the trailer.
pub(super) fn read(
    input: &mut Input<'_>,
    links: &mut HardLinks,
    entries: &mut Vec<Entry>,
) -> Result<bool, ArchiveError> {
    let offset = input.position();
    let header = Header::parse(&input.take(HEADER_SIZE, "an entry's header")?, offset)?;
    let path = header.read_path(input, offset)?;
    if path == TRAILER {
        input.copy(header.size.into(), "the trailer", |_| {})?;
        input.align()?;
        return Ok(false);
    }
    let path = text::normal(&text::escape(&path));

    let kind = header.mode & TYPE_MASK;
    let (sha256, target) = if kind == SYMLINK {
        let size = header.text_size(header.size, "a link's target", offset)?;
        let target = input.take(size, "a link's target")?;
        (Sha256Digest::of(&target), Some(text::escape(&target)))
    } else {
        let (sha256, sum) = read_contents(input, header.size)?;
        // A hard link without contents of its own has a checksum all the same.
        let is_summed = header.has_checksum && kind == REGULAR && header.size > 0;
        if is_summed && sum != header.checksum {
            return Err(ArchiveError::Checksum {
                path,
                expected: header.checksum,
                actual: sum,
            });
        }
        (sha256, None)
    };
    input.align()?;

    let text_size = target.as_ref().map_or(0, String::len);
    let archive = input
        .limits()
        .take_entry(path.len().saturating_add(text_size))?;
    let entry = Entry {
        path,
        archive,
        mode: header.mode,
        uid: header.uid,
        gid: header.gid,
        mtime: header.mtime,
        device: header.device,
        size: header.size.into(),
        sha256,
        target,
    };
    if kind == REGULAR && header.links > 1 {
        links.add(header.inode, entries.len(), &entry);
    }
    entries.push(entry);
    Ok(true)
}

/// Returns the digest of the next `size` bytes, and their sum.
fn read_contents(input: &mut Input<'_>, size: u32) -> Result<(Sha256Digest, u32), ArchiveError> {
    let mut hash = Sha256::new();
    let mut sum = 0u32;
    input.copy(size.into(), "a file's contents", |chunk| {
        hash.update(chunk);
        let add = |sum: u32, byte: &u8| sum.wrapping_add((*byte).into());
        sum = chunk.iter().fold(sum, add);
    })?;
    Ok((Digest(hash.finalize().into()), sum))
}

struct Header {
    has_checksum: bool,
    inode: [u32; 3],
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    size: u32,
    device: (u32, u32),
    path_size: u32,
    checksum: u32,
}

impl Header {
    fn parse(bytes: &[u8], offset: u64) -> Result<Self, ArchiveError> {
        let (magic, numbers) = bytes.split_at_checked(6).unwrap_or_default();
        let has_checksum = match magic {
            b"070701" => false,
            b"070702" => true,
            other => {
                return Err(ArchiveError::NotAnArchive {
                    offset,
                    actual: text::hex(other),
                });
            }
        };
        let mut parsed = [0u32; 13];
        for (number, digits) in parsed.iter_mut().zip(numbers.chunks_exact(8)) {
            *number = hexadecimal(digits).ok_or_else(|| ArchiveError::Field {
                offset,
                field: "a number",
                expected: "8 hex digits",
                actual: format!("\"{}\"", text::escape(digits)),
            })?;
        }
        let [
            inode,
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            major,
            minor,
            device_major,
            device_minor,
            path_size,
            checksum,
        ] = parsed;
        Ok(Self {
            has_checksum,
            inode: [inode, major, minor],
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            device: (device_major, device_minor),
            path_size,
            checksum,
        })
    }

    /// Reads the path and what aligns it; without its NUL.
    fn read_path(&self, input: &mut Input<'_>, offset: u64) -> Result<Vec<u8>, ArchiveError> {
        let size = self.text_size(self.path_size, "the path's size", offset)?;
        let mut path = input.take(size, "a path")?;
        if path.last() != Some(&0) {
            return Err(ArchiveError::Field {
                offset,
                field: "the path",
                expected: "terminated by NUL",
                actual: text::escape(&path),
            });
        }
        input.align()?;
        let end = path.iter().position(|byte| *byte == 0).unwrap_or_default();
        path.truncate(end);
        Ok(path)
    }

    /// A text's size, if it is one that the kernel takes.
    fn text_size(
        &self,
        size: u32,
        field: &'static str,
        offset: u64,
    ) -> Result<usize, ArchiveError> {
        let sized = usize::try_from(size).ok();
        sized
            .filter(|size| *size <= MAX_PATH)
            .ok_or(ArchiveError::Field {
                offset,
                field,
                expected: "at most 4096 bytes",
                actual: size.to_string(),
            })
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number.wrapping_shl(4) | digit)
    })
}
