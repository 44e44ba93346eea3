//! A service behind the proxy, which answers with what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) struct Upstream {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers each request after `pause` with the request's head, in lower case, as the body.
    pub(crate) fn start(address: SocketAddr, pause: Duration) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                thread::spawn(move || serve(connection.ok()?, pause));
            }
        });
        Self { address, is_over }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// Until the connection ends.
fn serve(connection: TcpStream, pause: Duration) -> Option<()> {
    let mut writer = connection.try_clone().ok()?;
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let length = head.split_once("\r\ncontent-length: ");
        let length = length.and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
        let mut body = reader.by_ref().take(length.unwrap_or(0));
        std::io::copy(&mut body, &mut std::io::sink()).ok()?;
        thread::sleep(pause);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        writer.write_all(answer.as_bytes()).ok()?;
    }
}
