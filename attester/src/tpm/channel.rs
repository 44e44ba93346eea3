//! Commands in, responses out: as blocking I/O.
//!
//! I/O: the TPM's device or socket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest command or response: the kernel's and libtpms's `TPM_BUFSIZE`.
pub(super) const MAX_MESSAGE: usize = 4096;

/// Tag, size and code: TPM 2.0 Library, Part 1, 18.
pub(super) const HEADER: usize = 10;

/// An opened TPM.
#[derive(Debug)]
pub(super) enum Channel {
    /// One write is one command, one read its response.
    Device(File),
    /// A stream; messages tell their size.
    Socket {
        stream: UnixStream,
        /// How long a command and its response may take together.
        limit: Duration,
    },
}

/// A stream until a certain time, however little comes at once.
#[derive(Debug)]
struct Timed<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl Channel {
    /// Opens what is at the path; a socket gives up a command after `limit`.
    pub(super) fn open(path: &Path, limit: Duration) -> io::Result<Self> {
        let kind = fs::metadata(path)?.file_type();
        if kind.is_socket() {
            let stream = UnixStream::connect(path)?;
            return Ok(Self::Socket { stream, limit });
        }
        if !kind.is_char_device() {
            let what = "expected a character device or a socket";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        let device = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self::Device(device))
    }

    /// Sends a command and receives the response, whose header tells its true size.
    pub(super) fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Device(device) => {
                device.write_all(command)?;
                read_device(device)
            }
            Self::Socket { stream, limit } => {
                let end = Instant::now().checked_add(*limit);
                let end = end.ok_or_else(|| invalid("the limit is no time"))?;
                let mut stream = Timed { stream, end };
                stream.write_all(command)?;
                read_stream(&mut stream)
            }
        }
    }
}

impl Timed<'_> {
    /// What is left; a socket's own timeout must not be zero.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn read_device(device: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let size = loop {
        match device.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    buffer.truncate(size);
    match message_size(&buffer)? == size {
        true => Ok(buffer),
        false => Err(invalid(
            "the response has another size than its header says",
        )),
    }
}

fn read_stream(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER];
    stream.read_exact(&mut message)?;
    let size = message_size(&message)?;
    let mut rest = vec![0; size.saturating_sub(HEADER)];
    stream.read_exact(&mut rest)?;
    message.extend(rest);
    Ok(message)
}

/// The size of the message that begins with these bytes.
fn message_size(bytes: &[u8]) -> io::Result<usize> {
    let size = bytes
        .get(2..)
        .filter(|_| bytes.len() >= HEADER)
        .and_then(|bytes| bytes.first_chunk())
        .ok_or_else(|| invalid("the response has no header"))?;
    let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
    match (HEADER..=MAX_MESSAGE).contains(&size) {
        true => Ok(size),
        false => Err(invalid(&format!(
            "the response says it has {size} bytes, expected {HEADER} to {MAX_MESSAGE}"
        ))),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESPONSE: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0xaa, 0xbb];

    #[test]
    fn a_response_is_read_by_its_size() {
        let two = [&RESPONSE[..], &RESPONSE].concat();
        assert_eq!(read_stream(&mut &two[..]).unwrap(), RESPONSE);
        assert_eq!(read_device(&mut &RESPONSE[..]).unwrap(), RESPONSE);
        assert!(read_device(&mut &two[..]).is_err());
        for length in 0..RESPONSE.len() {
            assert!(read_stream(&mut &RESPONSE[..length]).is_err());
            assert!(read_device(&mut &RESPONSE[..length]).is_err());
        }
    }

    #[test]
    fn absurd_sizes_are_refused_before_memory_is_taken() {
        for size in [0_u32, 9, 4097, u32::MAX] {
            let mut response = RESPONSE;
            response[2..6].copy_from_slice(&size.to_be_bytes());
            let error = read_stream(&mut &response[..]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{size}");
        }
    }

    #[test]
    fn a_response_that_drips_is_given_up_as_a_whole() {
        let (stream, mut tpm) = UnixStream::pair().unwrap();
        let dripping = std::thread::spawn(move || {
            let mut sent = 0_usize;
            // Each byte is well within the limit, all of them are not.
            for byte in RESPONSE {
                std::thread::sleep(Duration::from_millis(100));
                match tpm.write_all(&[byte]) {
                    Ok(()) => sent += 1,
                    Err(_) => break,
                }
            }
            sent
        });
        let limit = Duration::from_millis(400);
        let mut channel = Channel::Socket { stream, limit };
        let error = channel.transact(&[0; HEADER]).unwrap_err();
        let is_right = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(is_right, "{error}");
        drop(channel);
        assert!(dripping.join().unwrap() < RESPONSE.len());
    }

    #[test]
    fn a_regular_file_is_no_tpm() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Channel::open(file.path(), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_stream(&mut &bytes[..]);
            let _ = read_device(&mut &bytes[..]);
        }
    }
}
