//! The network of a simulated Azure machine: what it reaches is on this machine, and nothing else
//! is.
//!
//! QEMU's user network, closed with `restrict=on`, in which some addresses are forwarded to
//! loopback (`guestfwd`), as an ordinary user and without network namespaces, which the tools tree
//! does not let us make. QEMU forwards only addresses inside of its network, so that this is
//! [`NETWORK`], in which both of Azure's addresses are. Two things follow: every other address of a
//! test must be in there too, and what the guest sends elsewhere ends in QEMU.
//!
//! QEMU forwards no datagrams, and tells the guest of no resolver. A [`Wire`] is therefore between
//! the two: it sees every frame that the guest sends, counts what is addressed to whom, answers
//! DHCP and DNS, and passes on the rest.
//!
//! Left out: time servers, IPv6.
//!
//! I/O: Unix sockets, and a script in the run directory.

mod dhcp;
mod dns;
mod frame;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

pub use frame::Destination;
pub use wire::{Traffic, Wire};

use crate::machine::{ClosedNetwork, Reachable};

/// Azure's wireserver.
pub const WIRESERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
/// Azure's instance metadata service.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// QEMU's network: the smallest that has both. The guest knows its own 256 addresses and a gateway.
pub const NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(168, 0, 0, 0), 7);
/// QEMU's own address, the guest's gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(168, 0, 0, 2);
/// The guest's own address.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(168, 0, 0, 15);
/// The guest's resolver, which [`Wire`] answers for.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(168, 0, 0, 3);

/// The end of a forwarded connection that QEMU starts: joins it with a port of loopback.
///
/// When either side has ended, the other is given two seconds: whoever sends a request and closes
/// his half gets the answer.
const RELAY: &str = r#"exec 3<> "/dev/tcp/127.0.0.1/$1" || exit 1
cat <&3 &
back=$!
cat <&0 >&3 &
forth=$!
wait -n
kill -0 "$back" 2> /dev/null && { sleep 2 <&- >&- 3>&- & wait -n "$back" "$!"; }
kill "$back" "$forth" 2> /dev/null
"#;

/// Why a guest cannot be given an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not in 168.0.0.0/7, the only network that is forwarded, or is one of QEMU's own")]
pub struct OutOfReach(Ipv4Addr);

/// What a guest reaches: addresses, and names for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    forwards: BTreeMap<SocketAddrV4, SocketAddrV4>,
    names: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the guest reach `target`, on loopback, as `address`.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] if the address is not inside of [`NETWORK`].
    pub fn reach(&mut self, address: SocketAddrV4, target: SocketAddrV4) -> Result<(), OutOfReach> {
        check(*address.ip())?;
        self.forwards.insert(address, target);
        Ok(())
    }

    /// Gives an address a name in DNS; all other names do not exist. What the guest sends to an
    /// address that leads nowhere ends in QEMU.
    pub fn name(&mut self, name: &str, address: Ipv4Addr) {
        self.names.insert(name.to_ascii_lowercase(), address);
    }

    /// What is forwarded: the guest's address, and where it leads.
    pub fn forwards(&self) -> &BTreeMap<SocketAddrV4, SocketAddrV4> {
        &self.forwards
    }

    /// Whether the guest gets an answer from this destination.
    pub fn is_inside(&self, destination: Destination) -> bool {
        match destination {
            Destination::Tcp(address) => self.forwards.contains_key(&address),
            Destination::Udp(address) => {
                // DHCP, to QEMU's own server.
                address.port() == 67 || address == SocketAddrV4::new(RESOLVER, 53)
            }
        }
    }

    /// Prepares the network in the run directory: a machine with it can then be started.
    ///
    /// # Errors
    ///
    /// An I/O error if the socket or the script cannot be made there.
    pub fn lay(&self, run: &Path) -> io::Result<(ClosedNetwork, Wire)> {
        let relay = run.join("relay");
        fs::write(&relay, RELAY)?;
        let ends = ["guest.sock", "network.sock"].map(|name| run.join(name));
        let [guest_end, network_end] = ends;
        let wire = Wire::listen(&guest_end, &network_end, self.names.clone())?;
        let reachable = self.forwards.iter().map(|(address, target)| Reachable {
            address: *address,
            command: format!("bash '{}' {}", relay.display(), target.port()),
        });
        let network = ClosedNetwork {
            network: NETWORK,
            gateway: GATEWAY,
            resolver: RESOLVER,
            guest: GUEST,
            reachable: reachable.collect(),
            guest_end,
            network_end,
        };
        Ok((network, wire))
    }
}

/// QEMU's own addresses, the guest's, and those that it would give to others, are near each other.
fn check(address: Ipv4Addr) -> Result<(), OutOfReach> {
    let [first, .., last] = address.octets();
    let is_qemus = address.octets().starts_with(&[168, 0, 0]) && last < 32;
    match matches!(first, 168 | 169) && !is_qemus && address != Ipv4Addr::new(169, 255, 255, 255) {
        true => Ok(()),
        false => Err(OutOfReach(address)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn addresses_outside_are_refused() {
        let mut network = Network::new();
        let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let mut reach = |address: Ipv4Addr| network.reach(SocketAddrV4::new(address, 80), loopback);
        assert_eq!(reach(WIRESERVER), Ok(()));
        assert_eq!(reach(METADATA), Ok(()));
        for address in [
            Ipv4Addr::new(10, 0, 2, 2),
            Ipv4Addr::new(168, 0, 0, 2),
            Ipv4Addr::new(168, 0, 0, 15),
            Ipv4Addr::new(170, 0, 0, 1),
        ] {
            assert_eq!(reach(address), Err(OutOfReach(address)));
        }
    }

    #[test]
    fn only_what_is_forwarded_and_dns_and_dhcp_are_inside() {
        let mut network = Network::new();
        let address = SocketAddrV4::new(WIRESERVER, 80);
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1234);
        network.reach(address, target).unwrap();
        assert!(network.is_inside(Destination::Tcp(address)));
        assert!(!network.is_inside(Destination::Udp(address)));
        assert!(!network.is_inside(Destination::Tcp(SocketAddrV4::new(WIRESERVER, 81))));
        assert!(network.is_inside(Destination::Udp(SocketAddrV4::new(RESOLVER, 53))));
        assert!(!network.is_inside(Destination::Udp(SocketAddrV4::new(WIRESERVER, 123))));
    }

    /// Runs the relay against a server on loopback, as QEMU does.
    fn relay(port: u16, input: &[u8]) -> (String, Duration) {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("relay");
        fs::write(&script, RELAY).unwrap();
        let begin = Instant::now();
        let mut child = Command::new("bash")
            .arg(&script)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let mut output = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut output)
            .unwrap();
        child.wait().unwrap();
        (output, begin.elapsed())
    }

    #[test]
    fn relay_passes_both_directions_and_ends_with_the_server() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).unwrap();
            // The client's half is closed by now.
            thread::sleep(Duration::from_millis(300));
            stream.write_all(b"pong").unwrap();
            request
        });
        let (output, _) = relay(port, b"ping");
        assert_eq!(output, "pong");
        assert_eq!(&server.join().unwrap(), b"ping");
    }

    #[test]
    fn relay_ends_soon_after_the_client() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Never answers; sees the end when the relay has ended.
            stream.read_to_end(&mut Vec::new())
        });
        let (output, took) = relay(port, b"ping");
        assert_eq!(output, "");
        assert!(took < Duration::from_secs(20), "{took:?}");
        server.join().unwrap().unwrap();
    }

    #[test]
    fn nobody_to_relay_to_ends_the_connection() {
        let (output, took) = relay(1, b"");
        assert_eq!(output, "");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
