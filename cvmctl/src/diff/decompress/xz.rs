//! The .xz file format around LZMA2.
//!
//! Follows "The .xz File Format" 1.2.1: one stream of any number of blocks, each with the one
//! filter LZMA2. Of the checks CRC32 is verified, the only one that Linux verifies; the index is
//! read over. Done here, because it bounds the dictionary and needs no other hash.
//!
//! I/O: reads the reader that it is given.

use std::io::{self, BufRead, Read};

use flate2::Crc;
use lzma_rust2::Lzma2Reader;

use super::{check, damaged};

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: &[u8] = b"YZ";
/// Largest dictionary. The largest preset of xz has half of it.
const MAX_DICTIONARY: u32 = 128 << 20;
const LZMA2: u64 = 0x21;
/// Identifier of the check CRC32, and the size of every check by its identifier.
const CRC32: u8 = 1;
const CHECK_SIZES: [usize; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/// Reads what a stream stands for.
pub(super) struct Decoder<'s> {
    state: State<'s>,
    check: u8,
}

enum State<'s> {
    /// Before a block or the index.
    Between(Counted<'s>),
    /// In a block, with the checksum of what came out of it.
    Block(Box<Lzma2Reader<Counted<'s>>>, Crc),
    /// Behind the footer, or an error.
    Over,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(from: &'s mut dyn BufRead) -> io::Result<Self> {
        let mut from = Counted { from, count: 0 };
        let [magic @ .., zero, check, c0, c1, c2, c3] = from.array::<12>()?;
        if magic != HEADER_MAGIC || zero != 0 || check > 15 {
            return Err(damaged("expected the header of an xz stream"));
        }
        check_crc(&[zero, check], [c0, c1, c2, c3])?;
        let state = State::Between(from);
        Ok(Self { state, check })
    }

    /// Begins the next block, or reads the end of the stream.
    fn begin(&mut self, mut from: Counted<'s>) -> io::Result<State<'s>> {
        from.count = 0;
        let [size] = from.array()?;
        if size == 0 {
            skip_index(&mut from)?;
            let [.., m0, m1] = from.array::<12>()?;
            return if [m0, m1] == FOOTER_MAGIC {
                Ok(State::Over)
            } else {
                Err(damaged("expected the footer of an xz stream"))
            };
        }
        // The size counts itself and the checksum at the end, in units of four bytes.
        let mut header = vec![size];
        from.read_exactly(usize::from(size) * 4 - 1, &mut header)?;
        check_crc(&header, from.array()?)?;
        let dictionary = dictionary_size(&header)?;
        from.count = 0;
        let limit = lzma_rust2::lzma2_get_memory_usage(MAX_DICTIONARY);
        let reader = Lzma2Reader::new_mem_limit(from, dictionary, limit, None)?;
        Ok(State::Block(Box::new(reader), Crc::new()))
    }

    /// Reads what follows the data of a block: padding and check.
    fn end(&mut self, mut from: Counted<'s>, crc: &Crc) -> io::Result<State<'s>> {
        let padding = from.count.wrapping_neg() % 4;
        let size = CHECK_SIZES.get(usize::from(self.check)).copied();
        let mut rest = Vec::new();
        let padding = usize::try_from(padding).unwrap_or(0);
        from.read_exactly(padding + size.unwrap_or(0), &mut rest)?;
        if self.check == CRC32 {
            let stored = rest.get(padding..).unwrap_or_default();
            check(stored, &crc.sum().to_le_bytes())?;
        }
        Ok(State::Between(from))
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(from) => self.begin(from)?,
                State::Block(mut reader, mut crc) => {
                    let size = reader.read(to)?;
                    if size > 0 {
                        crc.update(to.get(..size).unwrap_or_default());
                        self.state = State::Block(reader, crc);
                        return Ok(size);
                    }
                    self.end(reader.into_inner(), &crc)?
                }
            };
        }
    }
}

/// Returns the dictionary's size out of a block header: size, flags, sizes of the block if they
/// are given, one filter.
fn dictionary_size(header: &[u8]) -> io::Result<u32> {
    let mut fields = header.get(1..).unwrap_or_default();
    let [flags] = array(&mut fields)?;
    let sizes = [0x40, 0x80].into_iter().filter(|bit| flags & bit != 0);
    for _ in sizes {
        number(&mut fields)?;
    }
    let is_single = flags & 0x3f == 0;
    if !is_single || number(&mut fields)? != LZMA2 || number(&mut fields)? != 1 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "expected xz with no filter but LZMA2",
        ));
    }
    match array(&mut fields)? {
        [bits @ 0..40] => Ok((2 | u32::from(bits & 1)) << (bits / 2 + 11)),
        [40] => Ok(u32::MAX),
        _ => Err(damaged("expected the size of a dictionary")),
    }
}

/// Reads over the index, whose first byte was read already.
fn skip_index(from: &mut Counted<'_>) -> io::Result<()> {
    let records = number(from)?;
    for _ in 0..records {
        number(from)?;
        number(from)?;
    }
    let padding = usize::try_from(from.count.wrapping_neg() % 4).unwrap_or(0);
    from.read_exactly(padding + 4, &mut Vec::new())
}

/// Reads a number of the format's variable length: seven bits in each byte, the lowest first.
fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let [byte] = array(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged("expected a number of at most nine bytes"))
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn check_crc(bytes: &[u8], stored: [u8; 4]) -> io::Result<()> {
    let mut crc = Crc::new();
    crc.update(bytes);
    check(crc.sum(), u32::from_le_bytes(stored))
}

/// The stream, and how much of it was consumed.
struct Counted<'s> {
    from: &'s mut dyn BufRead,
    count: u64,
}

impl Counted<'_> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        array(self)
    }

    /// Appends exactly `size` bytes to `bytes`.
    fn read_exactly(&mut self, size: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let size = size as u64;
        if self.take(size).read_to_end(bytes)? as u64 == size {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.from.read(to)?;
        self.count += size as u64;
        Ok(size)
    }
}
