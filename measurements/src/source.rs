//! Bytes that are read when they are needed, wherever in a reader they lie.
//!
//! A file of a file system lies in pieces, a section ends in zeros that nobody stored: [`Content`]
//! says where bytes are, [`Source`] reads them a chunk at a time, so that no image is ever held in
//! memory.
//!
//! I/O: reads and seeks in the reader that it is given.

use std::io::{self, Read, Seek, SeekFrom};

use crate::digest::{Digests, Hasher};

/// How much is read at once.
const CHUNK_SIZE: usize = 256 << 10;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something points outside of the image, or of the part of it that it belongs to.
    #[error("expected {length} bytes at byte {offset}, but there are only {size}")]
    OutOfBounds {
        /// Where the bytes should be.
        offset: u64,
        /// How many.
        length: u64,
        /// How many there are in all.
        size: u64,
    },
    /// The UKI has no such section, or an empty one.
    #[error("the UKI has no section {name}")]
    NoSection {
        /// The section's name.
        name: String,
    },
    /// A section is larger than its reader wants it.
    #[error("section {name} has {actual} bytes, expected at most {limit}")]
    SectionSize {
        /// The section's name.
        name: String,
        /// Its size in memory.
        actual: u64,
        /// Most that is read.
        limit: u64,
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

/// A reader of known size.
#[derive(Debug)]
pub(crate) struct Source<R> {
    reader: R,
    size: u64,
}

/// Where bytes are: pieces of a source, one after the other, and zeros that are stored nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pieces: Vec<Piece>,
    size: u64,
}

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Stored { start: u64, size: u64 },
    Zeros { size: u64 },
}

impl Piece {
    fn size(self) -> u64 {
        match self {
            Self::Stored { size, .. } | Self::Zeros { size } => size,
        }
    }

    /// The piece without its first `skip` bytes, at most `limit` bytes of it.
    fn part(self, skip: u64, limit: u64) -> Self {
        let left = self.size().saturating_sub(skip).min(limit);
        match self {
            Self::Stored { start, .. } => Self::Stored {
                start: start.saturating_add(skip),
                size: left,
            },
            Self::Zeros { .. } => Self::Zeros { size: left },
        }
    }
}

impl Content {
    /// `size` bytes that are stored from `start` on.
    pub(crate) fn stored(start: u64, size: u64) -> Self {
        let mut content = Self::default();
        content.push(Piece::Stored { start, size });
        content
    }

    /// `size` zeros.
    pub(crate) fn zeros(size: u64) -> Self {
        let mut content = Self::default();
        content.push(Piece::Zeros { size });
        content
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many pieces there are: what this takes in memory.
    pub(crate) fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// Appends what `other` holds.
    pub(crate) fn append(&mut self, other: &Self) {
        other.pieces.iter().for_each(|piece| self.push(*piece));
    }

    /// Returns the `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBounds`] if there are fewer.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Result<Self, ReadError> {
        let is_inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.size);
        if !is_inside {
            let size = self.size;
            return Err(ReadError::OutOfBounds {
                offset,
                length,
                size,
            });
        }
        let (mut skip, mut left) = (offset, length);
        let mut part = Self::default();
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            let taken = piece.part(skip, left);
            skip = skip.saturating_sub(piece.size());
            left = left.saturating_sub(taken.size());
            part.push(taken);
        }
        Ok(part)
    }

    /// Joins pieces that follow each other, so that a file in one run is one piece.
    fn push(&mut self, piece: Piece) {
        if piece.size() == 0 {
            return;
        }
        self.size = self.size.saturating_add(piece.size());
        match (self.pieces.last_mut(), piece) {
            (
                Some(Piece::Stored { start, size }),
                Piece::Stored {
                    start: next,
                    size: more,
                },
            ) if start.saturating_add(*size) == next => {
                *size = size.saturating_add(more);
            }
            _ => self.pieces.push(piece),
        }
    }
}

impl<R: Read + Seek> Source<R> {
    /// Finds out how large the reader is.
    pub(crate) fn open(mut reader: R) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io {
            offset: 0,
            length: 0,
            source,
        };
        let size = reader.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { reader, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// All bytes of the reader.
    pub(crate) fn content(&self) -> Content {
        Content::stored(0, self.size)
    }

    /// Reads all of `content` into memory. Callers cap its size.
    pub(crate) fn read(&mut self, content: &Content) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::with_capacity(usize::try_from(content.size()).unwrap_or(0));
        self.stream(content, |chunk| bytes.extend_from_slice(chunk))?;
        Ok(bytes)
    }

    /// Reads what there is of the first `length` bytes of `content`.
    pub(crate) fn read_head(
        &mut self,
        content: &Content,
        length: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let head = content.part(0, content.size().min(length))?;
        self.read(&head)
    }

    /// Hashes all of `content`.
    pub(crate) fn digests(&mut self, content: &Content) -> Result<Digests, ReadError> {
        let mut hasher = Hasher::default();
        self.stream(content, |chunk| hasher.update(chunk))?;
        Ok(hasher.finish())
    }

    /// Hands all bytes of `content` to `take`, in order, a chunk at a time.
    pub(crate) fn stream(
        &mut self,
        content: &Content,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let longest = content.pieces.iter().map(|piece| piece.size()).max();
        let longest = usize::try_from(longest.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; longest.min(CHUNK_SIZE)];
        for piece in &content.pieces {
            let mut at = match *piece {
                Piece::Stored { start, .. } => Some(start),
                Piece::Zeros { .. } => {
                    buffer.fill(0);
                    None
                }
            };
            let mut left = piece.size();
            while left > 0 {
                let size = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let chunk = buffer.get_mut(..size).unwrap_or_default();
                if let Some(offset) = &mut at {
                    self.read_exact(*offset, chunk)?;
                    *offset = offset.saturating_add(size as u64);
                }
                take(chunk);
                left = left.saturating_sub(size as u64);
            }
        }
        Ok(())
    }

    /// Fills `chunk` with the bytes from `offset` on.
    pub(crate) fn read_exact(&mut self, offset: u64, chunk: &mut [u8]) -> Result<(), ReadError> {
        let length = chunk.len() as u64;
        let size = self.size;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(ReadError::OutOfBounds {
                offset,
                length,
                size,
            });
        }
        let failed = |source| ReadError::Io {
            offset,
            length,
            source,
        };
        self.reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.reader.read_exact(chunk).map_err(failed)
    }
}

/// Reads a [`Content`] from its beginning to its end.
#[derive(Debug)]
pub(crate) struct ContentReader<'s, R> {
    source: &'s mut Source<R>,
    left: Content,
}

impl<'s, R: Read + Seek> ContentReader<'s, R> {
    pub(crate) fn new(source: &'s mut Source<R>, content: Content) -> Self {
        // The next piece is the last: taking it away is cheap there.
        let Content { mut pieces, size } = content;
        pieces.reverse();
        let left = Content { pieces, size };
        Self { source, left }
    }
}

impl<R: Read + Seek> Read for ContentReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.left.pieces.last_mut() else {
            return Ok(0);
        };
        let size = usize::try_from(piece.size())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let chunk = buffer.get_mut(..size).unwrap_or_default();
        match *piece {
            Piece::Stored { start, .. } => self
                .source
                .read_exact(start, chunk)
                .map_err(io::Error::other)?,
            Piece::Zeros { .. } => chunk.fill(0),
        }
        *piece = piece.part(size as u64, u64::MAX);
        if piece.size() == 0 {
            self.left.pieces.pop();
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn scattered() -> Content {
        let mut content = Content::stored(2, 3);
        content.append(&Content::zeros(2));
        content.append(&Content::stored(0, 2));
        content.append(&Content::stored(2, 1));
        content
    }

    #[test]
    fn pieces_and_zeros_are_read_in_order() {
        let mut source = Source::open(Cursor::new(b"abcdef")).unwrap();
        let content = scattered();
        assert_eq!(content.piece_count(), 3, "pieces in a row are one");
        assert_eq!(source.read(&content).unwrap(), b"cde\0\0abc");
        assert_eq!(source.read_head(&content, 4).unwrap(), b"cde\0");
        let mut text = Vec::new();
        let mut reader = ContentReader::new(&mut source, content);
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"cde\0\0abc");
    }

    #[test]
    fn every_part_is_what_the_whole_has_there() {
        let mut source = Source::open(Cursor::new(b"abcdef")).unwrap();
        let whole = source.read(&scattered()).unwrap();
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let part = scattered()
                    .part(start as u64, (end - start) as u64)
                    .unwrap();
                assert_eq!(source.read(&part).unwrap(), &whole[start..end]);
            }
        }
        assert!(scattered().part(8, 1).is_err());
        assert!(scattered().part(1, u64::MAX).is_err());
    }

    #[test]
    fn what_is_larger_than_a_chunk_is_read_whole() {
        let bytes: Vec<u8> = (0..CHUNK_SIZE * 2 + 77)
            .map(|i| i.to_le_bytes()[1])
            .collect();
        let mut source = Source::open(Cursor::new(bytes.clone())).unwrap();
        let mut content = source.content();
        content.append(&Content::zeros(CHUNK_SIZE as u64 + 1));
        let mut expected = bytes;
        expected.resize(expected.len() + CHUNK_SIZE + 1, 0);
        assert_eq!(source.digests(&content).unwrap(), Digests::of(&expected));
    }

    #[test]
    fn bytes_behind_the_end_are_not_there() {
        let mut source = Source::open(Cursor::new(b"abc")).unwrap();
        assert!(matches!(
            source.read(&Content::stored(2, 2)),
            Err(ReadError::OutOfBounds {
                offset: 2,
                length: 2,
                size: 3
            })
        ));
    }
}
