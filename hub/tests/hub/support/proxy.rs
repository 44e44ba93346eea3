//! What stands before a hub where no machine proves anything: it says the same of every client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What it says.
const SAID: &str = "X-Flashbots-Attestation-Type: test\r\nX-Flashbots-Measurement: {}\r\n\
                    X-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n";

/// Starts one in front of a hub, for as long as the test runs.
pub(crate) fn start(hub: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // Whoever hangs up is of no interest; the client's side of it is what is tested.
            std::thread::spawn(move || forward(client, hub));
        }
    });
    address
}

fn forward(mut client: TcpStream, hub: SocketAddr) -> std::io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut buffer = [0; 4096];
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
    };
    let mut server = TcpStream::connect(hub)?;
    server.write_all(&request[..end + 2])?;
    server.write_all(SAID.as_bytes())?;
    server.write_all(&request[end + 4..])?;
    let (mut rest, mut upstream) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut rest, &mut upstream));
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}
