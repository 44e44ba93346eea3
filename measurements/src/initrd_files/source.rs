//! The initrd itself: knows where it is, hashes what was consumed, and remembers a failure.
//!
//! I/O: reads the reader that it is given.

use std::io::{self, BufRead, Read};

use sha2::{Digest as _, Sha256};

use crate::{Digest, Sha256Digest};

const BUFFER_SIZE: usize = 1 << 16;
/// Bytes that tell what follows.
const MAGIC_SIZE: usize = 2;

/// A buffered reader whose bytes can be looked at before they are consumed.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What of the buffer was consumed.
    start: usize,
    /// Bytes consumed since the beginning.
    offset: u64,
    part_start: u64,
    part_hash: Sha256,
    /// What the reader failed with, which a decoder in between may have hidden.
    failure: Option<io::Error>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::with_capacity(BUFFER_SIZE),
            start: 0,
            offset: 0,
            part_start: 0,
            part_hash: Sha256::new(),
            failure: None,
        }
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Begins a part, whose bytes are counted and hashed.
    pub(super) fn begin_part(&mut self) {
        self.part_start = self.offset;
        self.part_hash = Sha256::new();
    }

    /// The size and digest of what was consumed of the part.
    pub(super) fn part(&self) -> (u64, Sha256Digest) {
        let digest = Digest(self.part_hash.clone().finalize().into());
        (self.offset.saturating_sub(self.part_start), digest)
    }

    /// The next two bytes; less at the end.
    pub(super) fn peek_magic(&mut self) -> io::Result<&[u8]> {
        self.fill_to(MAGIC_SIZE).or_else(|_| self.take_failure())?;
        let rest = self.rest();
        Ok(rest.get(..MAGIC_SIZE).unwrap_or(rest))
    }

    pub(super) fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.available()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let is_over = zeros < bytes.len() || zeros == 0;
            self.consume(zeros);
            if is_over {
                return Ok(());
            }
        }
    }

    pub(super) fn skip_all(&mut self) -> io::Result<()> {
        loop {
            let size = self.available()?.len();
            if size == 0 {
                return Ok(());
            }
            self.consume(size);
        }
    }

    /// Returns the reader's failure, if there was one.
    pub(super) fn take_failure(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn available(&mut self) -> io::Result<&[u8]> {
        self.fill_to(1).or_else(|_| self.take_failure())?;
        Ok(self.rest())
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads until at least `size` bytes are there, or the end.
    fn fill_to(&mut self, size: usize) -> io::Result<()> {
        while self.rest().len() < size {
            self.buffer.drain(..self.start);
            self.start = 0;
            let used = self.buffer.len();
            self.buffer.resize(BUFFER_SIZE, 0);
            let free = self.buffer.get_mut(used..).unwrap_or_default();
            let read = match self.reader.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                Err(error) => Err(error),
                Ok(read) => Ok(Some(read)),
            };
            let read_size = read.as_ref().ok().copied().flatten().unwrap_or(0);
            self.buffer.truncate(used.saturating_add(read_size));
            match read {
                Err(error) => {
                    let kind = error.kind();
                    self.failure = Some(error);
                    return Err(kind.into());
                }
                Ok(Some(0)) => return Ok(()),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill_to(1)?;
        Ok(self.rest())
    }

    fn consume(&mut self, size: usize) {
        let size = size.min(self.rest().len());
        let end = self.start.saturating_add(size);
        self.part_hash
            .update(self.buffer.get(self.start..end).unwrap_or_default());
        self.start = end;
        self.offset = self.offset.saturating_add(size as u64);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.fill_buf()?.read(to)?;
        self.consume(size);
        Ok(size)
    }
}
