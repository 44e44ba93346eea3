//! Stands between QEMU's `-tpmdev emulator` and swtpm.
//!
//! QEMU connects to our control socket and hands over its data channel as a file descriptor. We
//! keep that descriptor instead of passing it on, and relay TPM commands one by one, so that
//! commands of our own can come between. All other control commands go through, except the
//! goodbye: swtpm must outlive the machine, for its registers to be read afterwards. What extends a
//! register is written down on the way.
//!
//! I/O: Unix sockets, one thread for each.

use std::fs;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::control::read_tpm_message;
use super::control::{CMD_INIT, CMD_SET_DATAFD, CMD_SHUTDOWN, Channel, MAX_MESSAGE, SUCCESS};
use super::extends::{Extend, Extends};
use super::wire::Fields;

/// Listens on `path` for machines, one after another, until the process ends. What they extend is
/// added to `extends`.
///
/// # Errors
///
/// An I/O error if the socket cannot be made.
pub fn listen(path: &Path, channel: Arc<Channel>, extends: Extends) -> io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for machine in listener.incoming().map_while(Result::ok) {
            let (channel, extends) = (Arc::clone(&channel), extends.clone());
            // An error on either side means that the machine or swtpm has gone.
            thread::spawn(move || relay_control(machine, &channel, &extends));
        }
    });
    Ok(())
}

/// Serves one machine's control connection to its end.
fn relay_control(
    mut machine: UnixStream,
    channel: &Arc<Channel>,
    extends: &Extends,
) -> io::Result<()> {
    loop {
        let (message, descriptor) = receive(&machine)?;
        let code = match message.first_chunk() {
            Some(code) => u32::from_be_bytes(*code),
            None => return Ok(()),
        };
        let answer = match (code, descriptor) {
            (CMD_SET_DATAFD, Some(descriptor)) => {
                let data = UnixStream::from(descriptor);
                let (channel, extends) = (Arc::clone(channel), extends.clone());
                thread::spawn(move || relay_data(data, &channel, &extends));
                SUCCESS.to_vec()
            }
            (CMD_SHUTDOWN, _) => SUCCESS.to_vec(),
            _ => {
                if code == CMD_INIT {
                    extends.clear();
                }
                channel.control(&message)?
            }
        };
        machine.write_all(&answer)?;
    }
}

/// Passes the guest's TPM commands on, each as a whole.
fn relay_data(mut machine: UnixStream, channel: &Channel, extends: &Extends) -> io::Result<()> {
    loop {
        let command = read_tpm_message(&mut machine)?;
        let response = channel.transact(&command)?;
        let is_obeyed = Fields::of_response(0, &response).is_ok();
        // What cannot be read is not written down, and missed when the list is replayed.
        if let (Ok(Some(extend)), true) = (Extend::parse(&command), is_obeyed) {
            extends.push(extend);
        }
        machine.write_all(&response)?;
    }
}

/// Receives one control message, and the descriptor that came with it. QEMU waits for the answer
/// before it sends the next, so one message is one read.
fn receive(machine: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        machine,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptor = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .next();
    buffer.truncate(received.bytes);
    Ok((buffer, descriptor))
}
