//! Writes down what the guest says first on its connections.
//!
//! I/O: listens on 127.0.0.1 until the process ends.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A TLS greeting is shorter.
const MAX_GREETING: usize = 4096;
/// How long a guest under emulation may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens, and hangs up after the first words.
#[derive(Debug)]
pub(super) struct Witness {
    address: SocketAddrV4,
    greetings: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Witness {
    /// Begins to listen.
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let greetings = Arc::new(Mutex::new(Vec::new()));
        let of_thread = Arc::clone(&greetings);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One that says nothing is none of ours.
                if let Ok(greeting) = read_greeting(stream) {
                    let greetings = of_thread.lock();
                    let mut greetings = greetings.unwrap_or_else(PoisonError::into_inner);
                    greetings.push(greeting);
                }
            }
        });
        Ok(Self { address, greetings })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Whether somebody has sent a TLS greeting for a server of this name.
    pub(super) fn has_seen(&self, name: &str) -> bool {
        let greetings = self.greetings.lock();
        let greetings = greetings.unwrap_or_else(PoisonError::into_inner);
        greetings.iter().any(|greeting| is_for(greeting, name))
    }
}

/// Reads until the client waits for an answer.
fn read_greeting(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = Vec::new();
    let mut piece = [0; 1024];
    // A handshake record says how long it is: RFC 8446, 5.1.
    while greeting.len() < record_length(&greeting).min(MAX_GREETING) {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            break;
        }
        greeting.extend(piece.iter().take(length));
    }
    Ok(greeting)
}

fn record_length(record: &[u8]) -> usize {
    match record {
        [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => 5,
    }
}

/// A ClientHello, in a handshake record, with the name in it.
fn is_for(greeting: &[u8], name: &str) -> bool {
    let is_client_hello = greeting.first() == Some(&22) && greeting.get(5) == Some(&1);
    let mut places = greeting.windows(name.len());
    is_client_hello && places.any(|place| place == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    #[test]
    fn greeting_is_seen_and_noise_is_not() {
        let witness = Witness::start().unwrap();
        let say = |bytes: &[u8]| {
            let mut stream = TcpStream::connect(witness.address()).unwrap();
            stream.write_all(bytes).unwrap();
        };
        say(b"GET / time.example\r\n");
        say(b"\x16\x03\x01\0\x10\x01\0\0\x0cxtime.examplex");
        let end = Instant::now() + Duration::from_secs(20);
        while !witness.has_seen("time.example") {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!witness.has_seen("GET"));
        assert!(!witness.has_seen("other.example"));
    }
}
