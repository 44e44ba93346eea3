//! The wire between the guest and QEMU's user network: sees what the guest sends, passes it on, and
//! answers its DHCP and DNS.
//!
//! QEMU connects to a socket for each end and sends each frame after its length in 32 bits
//! (`-netdev stream`). DHCP is not left to QEMU: its server names no gateway and no resolver in a
//! closed network.
//!
//! I/O: two Unix sockets, threads that end when QEMU does.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::frame::{Destination, Packet, of_guest};
use super::{RESOLVER, dhcp, dns};

/// Longest frame; without offloads none is longer than an Ethernet frame.
const MAX_FRAME: usize = 64 << 10;

/// How often the guest wanted to talk to whom.
pub type Traffic = BTreeMap<Destination, u64>;

/// What has been seen on the wire.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    traffic: Arc<Mutex<Traffic>>,
    names: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
    /// To QEMU's user network; nothing before it has connected.
    to_network: Arc<Mutex<Option<UnixStream>>>,
}

impl Wire {
    /// Listens for QEMU at both ends, answering for these names.
    pub(super) fn listen(
        guest: &Path,
        network: &Path,
        names: BTreeMap<String, Ipv4Addr>,
    ) -> io::Result<Self> {
        let (guest, network) = (listen(guest)?, listen(network)?);
        let wire = Self {
            names: Arc::new(Mutex::new(names)),
            ..Self::default()
        };
        let of_thread = wire.clone();
        thread::spawn(move || {
            // One machine; an error means that it has gone.
            let _ = of_thread.connect(&guest, &network);
        });
        Ok(wire)
    }

    /// Everything that the guest has sent so far, connections and datagrams, whether anybody
    /// answered or not.
    pub fn traffic(&self) -> Traffic {
        let traffic = self.traffic.lock();
        traffic.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a name lead elsewhere from now on, or nowhere: then it does not exist. The guest may remember
    /// the former answer for a second.
    pub fn set_name(&self, name: &str, address: Option<Ipv4Addr>) {
        let names = self.names.lock();
        let mut names = names.unwrap_or_else(PoisonError::into_inner);
        let name = name.to_ascii_lowercase();
        match address {
            Some(address) => names.insert(name, address),
            None => names.remove(&name),
        };
    }

    /// Sends a datagram into QEMU's user network as if the guest did, to try whether it goes on.
    ///
    /// # Errors
    ///
    /// An I/O error if QEMU is not there.
    pub fn send_as_guest(&self, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let frame = of_guest(to, payload).ok_or(io::ErrorKind::InvalidInput)?;
        self.pass_on(&frame)
    }

    fn pass_on(&self, frame: &[u8]) -> io::Result<()> {
        let stream = self.to_network.lock();
        match stream.unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(stream) => write_frame(stream, frame),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn connect(&self, guest: &UnixListener, network: &UnixListener) -> io::Result<()> {
        let (mut guest, _) = guest.accept()?;
        let (mut from_network, _) = network.accept()?;
        let to_network = from_network.try_clone()?;
        let slot = self.to_network.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = Some(to_network);
        let to_guest = Arc::new(Mutex::new(guest.try_clone()?));
        let of_thread = Arc::clone(&to_guest);
        thread::spawn(move || -> io::Result<()> {
            loop {
                let frame = read_frame(&mut from_network)?;
                write_locked(&of_thread, &frame)?;
            }
        });
        loop {
            let frame = read_frame(&mut guest)?;
            match self.answer(&frame) {
                Some(Some(answer)) => write_locked(&to_guest, &answer)?,
                Some(None) => {}
                None => self.pass_on(&frame)?,
            }
        }
    }

    /// Counts a frame of the guest; for what is ours to answer, returns the answer if there is one.
    fn answer(&self, frame: &[u8]) -> Option<Option<Vec<u8>>> {
        let packet = Packet::parse(frame)?;
        if let Some(destination) = packet.destination() {
            let traffic = self.traffic.lock();
            let mut traffic = traffic.unwrap_or_else(PoisonError::into_inner);
            let count = traffic.entry(destination).or_default();
            *count = count.saturating_add(1);
        }
        let content = packet.datagram()?;
        if packet.to.port() == dhcp::SERVER_PORT {
            let answer = dhcp::answer(content);
            return Some(answer.and_then(|answer| packet.broadcast(dhcp::SERVER, &answer)));
        }
        if packet.to == SocketAddrV4::new(RESOLVER, 53) {
            let names = self.names.lock();
            let names = names.unwrap_or_else(PoisonError::into_inner);
            let answer = dns::answer(&names, content);
            return Some(answer.and_then(|answer| packet.answer(&answer)));
        }
        None
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

fn read_frame(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// Frames come from two threads.
fn write_locked(stream: &Mutex<UnixStream>, frame: &[u8]) -> io::Result<()> {
    let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
    write_frame(&mut stream, frame)
}

fn write_frame(stream: &mut UnixStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes()[..], frame].concat())
}

#[cfg(test)]
mod tests {
    use super::super::frame::datagram;
    use super::*;

    #[test]
    fn frames_pass_both_ways_dns_is_answered_and_all_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["guest", "network"].map(|name| directory.path().join(name));
        let names = [("hub".to_owned(), Ipv4Addr::new(168, 1, 1, 1))].into();
        let wire = Wire::listen(&paths[0], &paths[1], names).unwrap();
        let [mut guest, mut network] = paths.map(|path| UnixStream::connect(path).unwrap());
        let other = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 123);
        let resolver = SocketAddrV4::new(RESOLVER, 53);
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03hub\0\0\x01\0\x01";

        write_frame(&mut guest, &datagram(other, b"to the network")).unwrap();
        write_frame(&mut guest, b"no packet").unwrap();
        write_frame(&mut guest, &datagram(resolver, query)).unwrap();
        let answer = read_frame(&mut guest).unwrap();
        let answer = Packet::parse(&answer).unwrap().datagram().unwrap().to_vec();
        assert!(answer.ends_with(&[168, 1, 1, 1]));

        let passed = read_frame(&mut network).unwrap();
        assert_eq!(passed, datagram(other, b"to the network"));
        assert_eq!(read_frame(&mut network).unwrap(), b"no packet");
        write_frame(&mut network, b"to the guest").unwrap();
        assert_eq!(read_frame(&mut guest).unwrap(), b"to the guest");
        let expected = [
            (Destination::Udp(other), 1),
            (Destination::Udp(resolver), 1),
        ];
        assert_eq!(wire.traffic(), expected.into());

        // A name can lead elsewhere, and stop to exist.
        wire.set_name("hub", Some(Ipv4Addr::new(168, 2, 2, 2)));
        write_frame(&mut guest, &datagram(resolver, query)).unwrap();
        assert!(read_frame(&mut guest).unwrap().ends_with(&[168, 2, 2, 2]));
        wire.set_name("HUB", None);
        write_frame(&mut guest, &datagram(resolver, query)).unwrap();
        assert!(!read_frame(&mut guest).unwrap().ends_with(&[168, 2, 2, 2]));

        wire.send_as_guest(other, b"try").unwrap();
        let tried = read_frame(&mut network).unwrap();
        let tried = Packet::parse(&tried).unwrap();
        assert_eq!((*tried.from.ip(), tried.to), (super::super::GUEST, other));
    }
}
