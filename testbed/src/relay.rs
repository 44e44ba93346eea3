//! Passes TCP connections on from an address of loopback that is chosen: the hub knows builders by the
//! address that their connections come from.
//!
//! I/O: listens on 127.0.0.1 until the process ends; connects to loopback.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Listens for the connections of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    address: SocketAddrV4,
}

impl Relay {
    /// Passes what comes on to `target`, from `source`.
    pub(crate) fn start(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Nobody there: the node sees its connection end.
                thread::spawn(move || join(&near, &connect_from(source, target)?));
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

/// Connects from any port of `source`; Linux has all of 127.0.0.0/8 on loopback.
fn connect_from(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &target)?;
    Ok(socket.into())
}

/// Copies both ways until both have ended.
fn join(near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    thread::scope(|scope| {
        scope.spawn(|| copy(near, far));
        copy(far, near)
    })
}

/// Copies one way, and passes the end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn connection_comes_from_the_chosen_address_and_passes_both_ways() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(target) = server.local_addr().unwrap() else {
            panic!("not IPv4");
        };
        let source = Ipv4Addr::new(127, 0, 0, 7);
        let relay = Relay::start(source, target).unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, from) = server.accept().unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).unwrap();
            stream.write_all(&request).unwrap();
            from.ip()
        });
        let mut client = TcpStream::connect(relay.address()).unwrap();
        let request = vec![0x5a; 300_000];
        client.write_all(&request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == request);
        assert_eq!(answering.join().unwrap(), source);
    }

    #[test]
    fn nobody_there_ends_the_connection() {
        let relay = Relay::start(
            Ipv4Addr::LOCALHOST,
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
        );
        let mut client = TcpStream::connect(relay.unwrap().address()).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}
