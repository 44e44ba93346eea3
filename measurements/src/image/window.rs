//! A part of a seekable reader that cannot be read past.
//!
//! I/O: reads and seeks in the reader that it is given.

use std::io::{self, Read, Seek, SeekFrom};

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something points outside of the image, or of the partition it belongs to.
    #[error("expected {length} bytes at byte {offset}, but there are only {size}")]
    OutOfBounds {
        /// Where the bytes should be.
        offset: u64,
        /// How many.
        length: u64,
        /// How many there are in all.
        size: u64,
    },
    /// The reader failed.
    #[error("read {length} bytes at byte {offset}")]
    Io {
        /// Where in the image.
        offset: u64,
        /// How many.
        length: u64,
        /// What the reader said.
        source: io::Error,
    },
}

/// Bytes `start` to `start + size` of a reader.
pub(super) struct Window<'r, R> {
    reader: &'r mut R,
    start: u64,
    size: u64,
}

impl<'r, R: Read + Seek> Window<'r, R> {
    pub(super) fn whole(reader: &'r mut R) -> Result<Self, ReadError> {
        let size = reader
            .seek(SeekFrom::End(0))
            .map_err(|source| ReadError::Io {
                offset: 0,
                length: 0,
                source,
            })?;
        Ok(Self {
            reader,
            start: 0,
            size,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Narrows the window to `size` bytes from `start` on.
    pub(super) fn part(self, start: u64, size: u64) -> Result<Self, ReadError> {
        let start = self.locate(start, size)?;
        Ok(Self {
            reader: self.reader,
            start,
            size,
        })
    }

    /// Reads exactly `length` bytes at `offset`. Callers cap `length`; it is at most the window.
    pub(super) fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read_into(offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends exactly `length` bytes at `offset` to `bytes`.
    pub(super) fn read_into(
        &mut self,
        offset: u64,
        length: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let at = self.locate(offset, length)?;
        let failed = |source| ReadError::Io {
            offset: at,
            length,
            source,
        };
        // The bytes are there, so this is no more than the image really has.
        bytes.reserve_exact(usize::try_from(length).unwrap_or(0));
        self.reader.seek(SeekFrom::Start(at)).map_err(failed)?;
        let read = self
            .reader
            .by_ref()
            .take(length)
            .read_to_end(bytes)
            .map_err(failed)?;
        if read as u64 == length {
            Ok(())
        } else {
            Err(failed(io::ErrorKind::UnexpectedEof.into()))
        }
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
        let end = offset.checked_add(length);
        match end
            .filter(|end| *end <= self.size)
            .and_then(|_| self.start.checked_add(offset))
        {
            Some(at) => Ok(at),
            None => Err(ReadError::OutOfBounds {
                offset,
                length,
                size: self.size,
            }),
        }
    }
}
