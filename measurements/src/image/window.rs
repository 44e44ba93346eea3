//! A part of a source that cannot be read past.
//!
//! I/O: reads and seeks in the source that it is given.

use std::io::{Read, Seek};

use crate::source::{Content, ReadError, Source};

/// Bytes `start` to `start + size` of a source.
pub(super) struct Window<'s, R> {
    source: &'s mut Source<R>,
    start: u64,
    size: u64,
}

impl<'s, R: Read + Seek> Window<'s, R> {
    pub(super) fn whole(source: &'s mut Source<R>) -> Self {
        let size = source.size();
        Self {
            source,
            start: 0,
            size,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Narrows the window to `size` bytes from `start` on.
    pub(super) fn part(self, start: u64, size: u64) -> Result<Self, ReadError> {
        let start = self.locate(start, size)?;
        Ok(Self {
            source: self.source,
            start,
            size,
        })
    }

    /// Says where in the source `length` bytes at `offset` are, without reading them.
    pub(super) fn content(&self, offset: u64, length: u64) -> Result<Content, ReadError> {
        Ok(Content::stored(self.locate(offset, length)?, length))
    }

    /// Reads exactly `length` bytes at `offset`. Callers cap `length`; it is at most the window.
    pub(super) fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let content = self.content(offset, length)?;
        self.source.read(&content)
    }

    /// Reads what there is of `length` bytes at `offset`.
    pub(super) fn read_up_to(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let length = length.min(self.size.saturating_sub(offset));
        if length == 0 {
            Ok(Vec::new())
        } else {
            self.read(offset, length)
        }
    }

    fn locate(&self, offset: u64, length: u64) -> Result<u64, ReadError> {
        let is_inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.size);
        let at = self.start.checked_add(offset).filter(|_| is_inside);
        at.ok_or(ReadError::OutOfBounds {
            offset,
            length,
            size: self.size,
        })
    }
}
