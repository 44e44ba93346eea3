//! LZ4's legacy frame: a magic number, then blocks of up to 8 MiB, each with its compressed size
//! before it.
//!
//! Follows `doc/lz4_Frame_format.md` of LZ4, "Legacy frame", and what Linux v6.12
//! `lib/decompress_unlz4.c` makes of it: a size of zero or less than four bytes is the end.
//!
//! I/O: reads the reader that it is given.

use std::io::{self, BufRead, Read};

use super::damaged;

const MAGIC: u32 = 0x184c_2102;
/// What a block holds when unpacked, and the most that it may be when compressed.
const BLOCK_SIZE: usize = 8 << 20;
const MAX_COMPRESSED: usize = BLOCK_SIZE + BLOCK_SIZE / 255 + 16;

/// Reads what a legacy frame stands for.
pub(super) struct Decoder<'s> {
    from: &'s mut dyn BufRead,
    block: Vec<u8>,
    unpacked: Vec<u8>,
    /// The part of `unpacked` that is still to be handed out.
    start: usize,
    end: usize,
    is_over: bool,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(from: &'s mut dyn BufRead) -> io::Result<Self> {
        let mut decoder = Self {
            from,
            block: Vec::new(),
            unpacked: vec![0; BLOCK_SIZE],
            start: 0,
            end: 0,
            is_over: false,
        };
        if decoder.number()? == Some(MAGIC) {
            Ok(decoder)
        } else {
            Err(damaged("expected the magic number of a legacy frame"))
        }
    }

    /// The next number; `None` at the end.
    fn number(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = Vec::with_capacity(4);
        (&mut *self.from).take(4).read_to_end(&mut bytes)?;
        Ok(<[u8; 4]>::try_from(bytes).ok().map(u32::from_le_bytes))
    }

    /// Unpacks the next block.
    fn next_block(&mut self) -> io::Result<()> {
        let size = match self.number()? {
            None | Some(0) => {
                self.is_over = true;
                return Ok(());
            }
            // Frames may be put one behind the other.
            Some(MAGIC) => return Ok(()),
            Some(size) => size,
        };
        if usize::try_from(size).is_ok_and(|size| size > MAX_COMPRESSED) {
            return Err(damaged("expected a block of at most 8 MiB"));
        }
        self.block.clear();
        let limit = u64::from(size);
        if (&mut *self.from).take(limit).read_to_end(&mut self.block)? as u64 != limit {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.start = 0;
        self.end = lz4_flex::block::decompress_into(&self.block, &mut self.unpacked)
            .map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end && !self.is_over {
            self.next_block()?;
        }
        let mut rest = self.unpacked.get(self.start..self.end).unwrap_or_default();
        let size = rest.read(to)?;
        self.start += size;
        Ok(size)
    }
}
