//! Decoders for the archives of an initrd, all of them pure Rust and bounded in memory.
//!
//! Each reads one stream and not a byte more, as Linux's do: zstd (RFC 8878; windows up to
//! 128 MiB), gzip (RFC 1952), xz and LZ4's legacy frame. Left out, because nothing makes initrds
//! with them any more: bzip2, lzma and lzo.
//!
//! I/O: reads the reader that it is given.

mod lz4;
mod xz;

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use measurements::initrd_files::Compression;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Returns a reader of what the compressed data `from` stands for.
///
/// # Errors
///
/// Of the kind [`io::ErrorKind::Unsupported`] if there is no decoder; else what is wrong with the
/// data's beginning.
pub(super) fn open<'s>(
    compression: Compression,
    from: &'s mut dyn BufRead,
) -> io::Result<Box<dyn Read + 's>> {
    Ok(match compression {
        Compression::Zstd => Box::new(Zstd(StreamingDecoder::new(from).map_err(io::Error::other)?)),
        Compression::Gzip => Box::new(GzDecoder::new(from)),
        Compression::Xz => Box::new(xz::Decoder::new(from)?),
        Compression::Lz4 => Box::new(lz4::Decoder::new(from)?),
        Compression::Bzip2 | Compression::Lzma | Compression::Lzo => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "expected zstd, gzip, xz or lz4",
            ));
        }
    })
}

/// Checks at the end what the decoder only computes.
struct Zstd<'s>(StreamingDecoder<&'s mut dyn BufRead, FrameDecoder>);

impl Read for Zstd<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.0.read(to)?;
        if size == 0 && !to.is_empty() {
            let decoder = &self.0.decoder;
            if let Some(expected) = decoder.get_checksum_from_data() {
                check(Some(expected), decoder.get_calculated_checksum())?;
            }
        }
        Ok(size)
    }
}

fn check<T: PartialEq>(expected: T, actual: T) -> io::Result<()> {
    if expected == actual {
        Ok(())
    } else {
        Err(damaged("the checksum is wrong"))
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
