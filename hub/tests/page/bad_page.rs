//! A page that does everything that ours must not: if this is not noticed, nothing would be.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

const PAGE: &str = "<!DOCTYPE html><title>bad</title><body style='margin: 0'>
    <div style='width: 3000px'>wide</div>
    <img src='http://elsewhere.example/image'>
    <script>
        document.title = 'owned';
        alert('alert');
        console.error('complaint');
        setTimeout(() => { throw new Error('exception'); }, 50);
        setTimeout(() => { fetch('http://127.0.0.1:9/late').catch(() => {}); }, 200);
    </script>";

/// Serves it until the test's process ends.
pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let length = PAGE.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            // A browser that has gone away does not mind.
            let _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{PAGE}");
        }
    });
    address
}
