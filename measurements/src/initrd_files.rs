//! The files of an initrd, as the kernel would unpack them.
//!
//! An initrd is a row of cpio archives ("newc" `070701`, with checksums "crc" `070702`), each plain
//! or compressed as a whole, with zeros between them. Mirrors Linux v6.12 `init/initramfs.c`
//! (`unpack_to_rootfs` and the state machine above it) and `lib/decompress.c` (magic numbers).
//! Decompression is the caller's: this crate stays small, and whoever lists files chooses the
//! decoders.
//!
//! Left out: paths that lead through a symbolic link to another place are compared as they are
//! written; inode numbers, link counts and the padding of archives count only in digests of the
//! archive as a whole.
//!
//! I/O: reads the reader that it is given, once, from its beginning to its end.

mod compression;
mod entry;
mod input;
mod links;
mod listing;
mod source;
mod text;

use std::io::{self, BufRead, BufReader, Read};

pub use compression::Compression;
pub use entry::Entry;
pub use listing::{Archive, ArchiveError, Listing, Unreadable};

use crate::Sha256Digest;
use input::{Digesting, Input, Limits};
use links::HardLinks;
use source::Source;

/// Most bytes that are unpacked, of all archives together.
pub const MAX_UNPACKED: u64 = 4 << 30;
/// Most entries, of all archives together.
pub const MAX_ENTRIES: usize = 1_000_000;
/// Longest path or link target, in bytes with its NUL: the kernel's `PATH_MAX`.
pub const MAX_PATH: usize = 4096;
/// Most bytes of paths and link targets, of all entries together, as they are held in memory.
pub const MAX_TEXT: usize = 64 << 20;

/// Lists what `initrd` holds.
///
/// `decompress` gets the kind of a compression and the bytes from its magic number on, and returns
/// a reader of what they stand for; an error of the kind [`io::ErrorKind::Unsupported`] if it knows
/// no decoder. The decoder must not consume more than the one stream, because the next archive
/// follows, and must bound its own memory; how much comes out of it is limited here.
///
/// The initrd need not be trusted. Memory is bounded by [`MAX_ENTRIES`] and [`MAX_TEXT`], time by
/// [`MAX_UNPACKED`]. What cannot be listed is returned as [`Listing::unreadable`], with its digest.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let initrd: &[u8] = &[0; 512];
/// use std::io::ErrorKind;
///
/// // Plain archives only.
/// let listing = measurements::initrd_files::list(initrd, |_, _| Err(ErrorKind::Unsupported.into()))?;
/// for (path, entry) in listing.files() {
///     println!("{path}: {} bytes", entry.size);
/// }
/// assert!(listing.unreadable.is_none(), "not all of it was listed");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// What `initrd` itself fails with when it is read.
pub fn list<R, D>(initrd: R, decompress: D) -> io::Result<Listing>
where
    R: Read,
    D: for<'s> FnMut(Compression, &'s mut dyn BufRead) -> io::Result<Box<dyn Read + 's>>,
{
    list_within(Limits::default(), initrd, decompress)
}

fn list_within<R, D>(mut limits: Limits, initrd: R, mut decompress: D) -> io::Result<Listing>
where
    R: Read,
    D: for<'s> FnMut(Compression, &'s mut dyn BufRead) -> io::Result<Box<dyn Read + 's>>,
{
    let mut source = Source::new(initrd);
    let mut listing = Listing::default();
    loop {
        source.skip_zeros()?;
        source.begin_part();
        let offset = source.offset();
        let magic = source.peek_magic()?;
        if magic.is_empty() {
            return Ok(listing);
        }
        let kind = Compression::of(magic);
        let is_plain = magic.starts_with(b"0") && offset.is_multiple_of(4);
        let actual = text::hex(magic);
        let entries = &mut listing.entries;
        let result = match (limits.begin_archive(listing.archives.len()), kind) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(kind)) => {
                read_compressed(kind, &mut source, entries, &mut limits, &mut decompress).map(Some)
            }
            (Ok(()), None) if is_plain => {
                read_plain(&mut source, entries, &mut limits).map(|()| None)
            }
            (Ok(()), None) => Err(ArchiveError::NotAnArchive { offset, actual }),
        };
        source.take_failure()?;
        match result {
            Ok(unpacked) => {
                let (size, sha256) = source.part();
                let plain = || (size, sha256);
                let (unpacked_size, unpacked_sha256) =
                    unpacked.as_ref().map_or_else(plain, |u| (u.size, u.sha256));
                listing.archives.push(Archive {
                    offset,
                    size,
                    sha256,
                    compression: unpacked.map(|u| u.compression),
                    unpacked_size,
                    unpacked_sha256,
                });
            }
            Err(reason) => {
                source.skip_all()?;
                let (size, sha256) = source.part();
                listing.unreadable = Some(Unreadable {
                    offset,
                    size,
                    sha256,
                    reason,
                });
                return Ok(listing);
            }
        }
    }
}

/// What came out of a compressed stream.
struct Unpacked {
    compression: Compression,
    size: u64,
    sha256: Sha256Digest,
}

/// Reads one plain archive, up to its trailer.
fn read_plain<R: Read>(
    source: &mut Source<R>,
    entries: &mut Vec<Entry>,
    limits: &mut Limits,
) -> Result<(), ArchiveError> {
    let start = source.offset();
    let mut links = HardLinks::default();
    let mut input = Input::new(source, start, limits);
    let mut read = || {
        while input.is_at_entry()? && entry::read(&mut input, &mut links, entries)? {}
        Ok(())
    };
    let result = read();
    links.resolve(entries);
    result
}

/// Reads all archives that a compressed stream holds.
fn read_compressed<R, D>(
    compression: Compression,
    source: &mut Source<R>,
    entries: &mut Vec<Entry>,
    limits: &mut Limits,
    decompress: &mut D,
) -> Result<Unpacked, ArchiveError>
where
    R: Read,
    D: for<'s> FnMut(Compression, &'s mut dyn BufRead) -> io::Result<Box<dyn Read + 's>>,
{
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::Unsupported => ArchiveError::Unsupported {
            compression,
            source: error,
        },
        _ => ArchiveError::Damaged {
            compression,
            source: error,
        },
    };
    let start = source.offset();
    let decoder = decompress(compression, source).map_err(failed)?;
    let mut unpacked = Digesting::new(BufReader::with_capacity(1 << 16, decoder));
    let mut links = HardLinks::default();
    let mut input = Input::new(&mut unpacked, 0, limits);
    let mut read = || {
        while input.skip_zeros()? {
            if !input.is_at_entry()? {
                return Err(input.not_an_archive()?);
            }
            if !entry::read(&mut input, &mut links, entries)? {
                links.resolve(entries);
            }
        }
        Ok(())
    };
    let result = read();
    links.resolve(entries);
    result.map_err(|error| match error {
        ArchiveError::Read(source) => failed(source),
        other => other,
    })?;
    let (size, sha256) = unpacked.finish();
    if source.offset() == start {
        // The same bytes would come again, for ever.
        return Err(failed(io::ErrorKind::InvalidData.into()));
    }
    Ok(Unpacked {
        compression,
        size,
        sha256,
    })
}

#[cfg(test)]
mod tests;
