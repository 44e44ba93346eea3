//! The two channels of swtpm: control commands and TPM commands.
//!
//! The control protocol is that of swtpm's `include/swtpm/tpm_ioctl.h`: a big-endian command
//! code, a body that depends on it, and an answer that begins with a big-endian result code. The
//! data channel is a socket that we hand to swtpm with `CMD_SET_DATAFD`; it carries plain TPM
//! commands and responses.
//!
//! I/O: Unix sockets.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::TpmError;
use crate::child::POLL;

/// `CMD_INIT`: resets and starts the TPM; the body holds flags.
pub const CMD_INIT: u32 = 2;
/// `CMD_SHUTDOWN`: writes the state and ends swtpm.
pub const CMD_SHUTDOWN: u32 = 3;
/// `CMD_SET_DATAFD`: hands over the data channel as a file descriptor beside the message.
pub const CMD_SET_DATAFD: u32 = 0x10;
/// The answer to a control command without a body that succeeded.
pub const SUCCESS: [u8; 4] = [0; 4];

/// Longest control message; state transfers, which nobody here uses, may be longer.
pub(crate) const MAX_MESSAGE: usize = 4096;
/// Longest TPM command or response (libtpms's `TPM_BUFFER_MAX`).
const MAX_TPM_MESSAGE: usize = 4096;
/// tag, size, code: TPM 2.0 Library Part 1, 18.
const HEADER: usize = 10;

/// swtpm as seen by its one user: us.
#[derive(Debug)]
pub struct Channel {
    control: Mutex<UnixStream>,
    data: Mutex<UnixStream>,
}

impl Channel {
    /// Connects to a swtpm that has just been started and gives it a data channel.
    ///
    /// # Errors
    ///
    /// [`TpmError::Io`] if nothing listens on `path` within `timeout`.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, TpmError> {
        let control = connect_patiently(path, timeout)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [theirs.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            &control,
            &[IoSlice::new(&CMD_SET_DATAFD.to_be_bytes())],
            &mut ancillary,
            SendFlags::empty(),
        )
        .map_err(io::Error::from)?;
        let channel = Self {
            control: Mutex::new(control),
            data: Mutex::new(ours),
        };
        let answer = read_some(&mut lock(&channel.control))?;
        check(CMD_SET_DATAFD, &answer)?;
        Ok(channel)
    }

    /// Resets the TPM, as turning a machine on does.
    ///
    /// # Errors
    ///
    /// [`TpmError::Control`] if swtpm refuses.
    pub fn init(&self) -> Result<(), TpmError> {
        self.command(CMD_INIT, &[0; 4])
    }

    /// Ends swtpm in order.
    ///
    /// # Errors
    ///
    /// [`TpmError::Io`] if it has ended already.
    pub fn shutdown(&self) -> Result<(), TpmError> {
        self.command(CMD_SHUTDOWN, &[])
    }

    /// Sends a raw control message and returns the raw answer.
    ///
    /// # Errors
    ///
    /// An I/O error if swtpm has gone.
    pub fn control(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut control = lock(&self.control);
        control.write_all(message)?;
        read_some(&mut control)
    }

    /// Sends one TPM command and returns the response, both with their headers.
    ///
    /// # Errors
    ///
    /// An I/O error if swtpm has gone or answers nonsense.
    pub fn transact(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = lock(&self.data);
        data.write_all(command)?;
        read_tpm_message(&mut *data)
    }

    fn command(&self, command: u32, body: &[u8]) -> Result<(), TpmError> {
        let message = [&command.to_be_bytes(), body].concat();
        check(command, &self.control(&message)?)
    }
}

/// Reads one TPM command or response: the header's second field is the length of the whole.
pub(crate) fn read_tpm_message(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER];
    stream.read_exact(&mut message)?;
    let length = match message.get(2..6).and_then(|size| size.try_into().ok()) {
        Some(size) => u32::from_be_bytes(size) as usize,
        None => 0,
    };
    if !(HEADER..=MAX_TPM_MESSAGE).contains(&length) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("TPM message of {length} bytes"),
        ));
    }
    message.resize(length, 0);
    stream.read_exact(message.get_mut(HEADER..).unwrap_or_default())?;
    Ok(message)
}

/// Locks without caring whether another thread panicked: the streams stay usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect_patiently(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let end = Instant::now() + timeout;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Reads one control answer: swtpm writes each in one piece and sends nothing unasked.
fn read_some(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let length = stream.read(&mut buffer)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer.truncate(length);
    Ok(buffer)
}

fn check(command: u32, answer: &[u8]) -> Result<(), TpmError> {
    let code = answer
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
        .ok_or(TpmError::Malformed("control answer is too short"))?;
    match code {
        0 => Ok(()),
        code => Err(TpmError::Control { command, code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_by_its_length() {
        let bytes = [
            0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0xAA, 0xBB, /* next */ 0x80,
        ];
        let message = read_tpm_message(&mut &bytes[..]).unwrap();
        assert_eq!(message, bytes[..12]);
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for size in [0u32, 9, 4097, u32::MAX] {
            let mut bytes = vec![0x80, 1];
            bytes.extend(size.to_be_bytes());
            bytes.extend([0; 4]);
            let error = read_tpm_message(&mut &bytes[..]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{size}");
        }
    }

    #[test]
    fn control_failure_carries_the_code() {
        let error = check(CMD_INIT, &[0, 0, 0, 9]).unwrap_err();
        assert!(matches!(
            error,
            TpmError::Control {
                command: 2,
                code: 9
            }
        ));
    }
}
