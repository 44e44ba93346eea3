//! What entries are read from: bytes with their position, of which there are only so many.
//!
//! I/O: reads the reader that it is given.

use std::io::{self, BufRead, Read};

use sha2::{Digest as _, Sha256};

use super::{ArchiveError, MAX_ENTRIES, MAX_TEXT, MAX_UNPACKED, text};
use crate::{Digest, Sha256Digest};

/// What may still come, and in which archive.
pub(super) struct Limits {
    pub(super) unpacked: u64,
    pub(super) entries: usize,
    pub(super) text: usize,
    /// The index of the archive that is read.
    pub(super) archive: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked: MAX_UNPACKED,
            entries: MAX_ENTRIES,
            text: MAX_TEXT,
            archive: 0,
        }
    }
}

impl Limits {
    /// Allows one more archive, the one with this index. It counts as an entry.
    pub(super) fn begin_archive(&mut self, index: usize) -> Result<(), ArchiveError> {
        self.archive = index;
        self.take_entry(0).map(|_| ())
    }

    /// Allows one more entry whose texts have `size` bytes; returns its archive.
    pub(super) fn take_entry(&mut self, size: usize) -> Result<usize, ArchiveError> {
        let too_much = |limit: usize, what| ArchiveError::TooMuch {
            limit: limit as u64,
            what,
        };
        let entries = self.entries.checked_sub(1);
        self.entries = entries.ok_or_else(|| too_much(MAX_ENTRIES, "entries"))?;
        let text = self.text.checked_sub(size);
        self.text = text.ok_or_else(|| too_much(MAX_TEXT, "bytes of paths"))?;
        Ok(self.archive)
    }
}

/// A reader with its position.
pub(super) struct Input<'i> {
    reader: &'i mut dyn BufRead,
    position: u64,
    limits: &'i mut Limits,
}

impl<'i> Input<'i> {
    /// Reads from `reader`, whose first byte is at `position`.
    pub(super) fn new(reader: &'i mut dyn BufRead, position: u64, limits: &'i mut Limits) -> Self {
        Self {
            reader,
            position,
            limits,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn limits(&mut self) -> &mut Limits {
        self.limits
    }

    /// Says whether an entry begins here: the kernel looks for one at multiples of four only.
    pub(super) fn is_at_entry(&mut self) -> Result<bool, ArchiveError> {
        Ok(self.position.is_multiple_of(4) && self.available()?.first() == Some(&b'0'))
    }

    /// Skips zeros; says whether there is anything behind them.
    pub(super) fn skip_zeros(&mut self) -> Result<bool, ArchiveError> {
        loop {
            let bytes = self.available()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let size = bytes.len();
            self.consume(zeros)?;
            if zeros < size || size == 0 {
                return Ok(size != 0);
            }
        }
    }

    /// What to say of the bytes here if they are no entry.
    pub(super) fn not_an_archive(&mut self) -> Result<ArchiveError, ArchiveError> {
        let offset = self.position;
        let bytes = self.available()?;
        let actual = text::hex(bytes.get(..6).unwrap_or(bytes));
        Ok(ArchiveError::NotAnArchive { offset, actual })
    }

    /// Returns the next `size` bytes. Callers cap `size`.
    pub(super) fn take(
        &mut self,
        size: usize,
        what: &'static str,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::with_capacity(size);
        self.copy(size as u64, what, |chunk| bytes.extend_from_slice(chunk))?;
        Ok(bytes)
    }

    /// Hands the next `size` bytes to `sink`, piece by piece.
    pub(super) fn copy(
        &mut self,
        size: u64,
        what: &'static str,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        while left > 0 {
            let bytes = self.available()?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            let chunk = bytes.get(..wanted).unwrap_or(bytes);
            if chunk.is_empty() {
                return Err(ArchiveError::Truncated {
                    offset: self.position,
                    what,
                    missing: left,
                });
            }
            sink(chunk);
            let taken = chunk.len();
            self.consume(taken)?;
            left = left.saturating_sub(taken as u64);
        }
        Ok(())
    }

    /// Skips what aligns the position to four bytes; the very end needs none.
    pub(super) fn align(&mut self) -> Result<(), ArchiveError> {
        while !self.position.is_multiple_of(4) && !self.available()?.is_empty() {
            self.consume(1)?;
        }
        Ok(())
    }

    fn available(&mut self) -> Result<&[u8], ArchiveError> {
        Ok(self.reader.fill_buf()?)
    }

    fn consume(&mut self, size: usize) -> Result<(), ArchiveError> {
        let left = self.limits.unpacked.checked_sub(size as u64);
        self.limits.unpacked = left.ok_or(ArchiveError::TooMuch {
            limit: MAX_UNPACKED,
            what: "bytes when unpacked",
        })?;
        self.reader.consume(size);
        self.position = self.position.saturating_add(size as u64);
        Ok(())
    }
}

/// Hashes and counts what is consumed.
pub(super) struct Digesting<R> {
    reader: R,
    hash: Sha256,
    size: u64,
}

impl<R: BufRead> Digesting<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
            size: 0,
        }
    }

    pub(super) fn finish(self) -> (u64, Sha256Digest) {
        (self.size, Digest(self.hash.finalize().into()))
    }
}

impl<R: BufRead> BufRead for Digesting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, size: usize) {
        // Only what `fill_buf` returned can be consumed, so that this reads nothing.
        if let Ok(bytes) = self.reader.fill_buf() {
            let bytes = bytes.get(..size).unwrap_or(bytes);
            self.hash.update(bytes);
            self.size = self.size.saturating_add(bytes.len() as u64);
            let size = bytes.len();
            self.reader.consume(size);
        }
    }
}

impl<R: BufRead> Read for Digesting<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.fill_buf()?.read(to)?;
        self.consume(size);
        Ok(size)
    }
}
