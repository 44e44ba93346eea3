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
use super::obstacle::Obstacle;
use super::watch::Watchers;
use super::wire::Fields;

/// What machines talk to, and who learns of it.
#[derive(Clone, Debug)]
pub struct Machines {
    pub(super) channel: Arc<Channel>,
    /// What they extend is added to this.
    pub(super) extends: Extends,
    pub(super) watchers: Watchers,
    pub(super) obstacle: Obstacle,
}

/// Listens on `path` for machines, one after another, until the process ends.
///
/// # Errors
///
/// An I/O error if the socket cannot be made.
pub fn listen(path: &Path, machines: Machines) -> io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for machine in listener.incoming().map_while(Result::ok) {
            let machines = machines.clone();
            // An error on either side means that the machine or swtpm has gone.
            thread::spawn(move || machines.relay_control(machine));
        }
    });
    Ok(())
}

impl Machines {
    /// Serves one machine's control connection to its end.
    fn relay_control(&self, mut machine: UnixStream) -> io::Result<()> {
        loop {
            let (message, descriptor) = receive(&machine)?;
            let code = match message.first_chunk() {
                Some(code) => u32::from_be_bytes(*code),
                None => return Ok(()),
            };
            let answer = match (code, descriptor) {
                (CMD_SET_DATAFD, Some(descriptor)) => {
                    let data = UnixStream::from(descriptor);
                    let machines = self.clone();
                    thread::spawn(move || machines.relay_data(data));
                    SUCCESS.to_vec()
                }
                (CMD_SHUTDOWN, _) => SUCCESS.to_vec(),
                _ => {
                    if code == CMD_INIT {
                        self.extends.clear();
                    }
                    self.channel.control(&message)?
                }
            };
            machine.write_all(&answer)?;
        }
    }

    /// Passes the guest's TPM commands on, each as a whole.
    fn relay_data(&self, mut machine: UnixStream) -> io::Result<()> {
        loop {
            let command = read_tpm_message(&mut machine)?;
            let response = match self.obstacle.refusal(&command) {
                Some(refusal) => refusal,
                None => self.channel.transact(&command)?,
            };
            if Fields::of_response(0, &response).is_ok() {
                // What cannot be read is not written down, and missed when the list is replayed.
                if let Ok(Some(extend)) = Extend::parse(&command) {
                    self.extends.push(extend);
                }
                self.watchers.tell(&command);
            }
            machine.write_all(&response)?;
        }
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
