//! A small HTTP/1.1 server on loopback that can also behave badly.
//!
//! It serves what the simulated host's services say, one thread for each connection. Requests are
//! read strictly and within limits; answers are sent as their [`Manner`] tells: in one piece, byte
//! by byte, cut off, or not at all. Not here: TLS, request bodies in chunks.
//!
//! I/O: listens on 127.0.0.1; threads end with the [`Server`].

pub mod request;

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use request::{BadRequest, Request};

/// How long a client may be silent within a request, and between two.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a hanging connection looks whether it may end.
const HANG_POLL: Duration = Duration::from_millis(50);

/// What is sent to a client, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// How it is sent.
    pub manner: Manner,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// In one piece; the connection stays open for the next request.
    Whole,
    /// Byte by byte, with this pause after each.
    Drip(Duration),
    /// As if there were twice as much to come, then closed.
    CutOff,
    /// The body alone, without status and headers, then closed.
    Raw,
    /// Not at all: the connection is closed.
    Close,
    /// Not at all: the connection stays open for as long as client and server do.
    Hang,
}

impl Answer {
    /// An answer in one piece.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type,
            body: body.into(),
            manner: Manner::Whole,
        }
    }

    fn head(&self) -> String {
        let length = match self.manner {
            Manner::CutOff => self.body.len().saturating_mul(2).max(1),
            _ => self.body.len(),
        };
        format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n",
            self.status,
            reason(self.status),
            self.content_type,
        )
    }
}

/// The reason phrase of the status codes that are used here.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

/// A server that is running; it ends, with all of its connections, when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddrV4,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// Starts one on a free port; `answer` is called in the connections' threads.
    ///
    /// # Errors
    ///
    /// An I/O error if there is no free port.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let shared = Arc::new(Shared::default());
        let (answer, of_thread) = (Arc::new(answer), Arc::clone(&shared));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.is_stopped() {
                    return;
                }
                of_thread.remember(&stream);
                let (answer, shared) = (Arc::clone(&answer), Arc::clone(&of_thread));
                // A failing connection is the client's to notice.
                thread::spawn(move || {
                    let _ = serve(&stream, answer.as_ref(), &shared);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; if it has ended already, nobody is there to be woken.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Keeps a handle with which the connection can be closed, and forgets those that have ended.
    fn remember(&self, stream: &TcpStream) {
        let mut connections = self.lock();
        connections.retain(|stream| stream.peer_addr().is_ok());
        connections.extend(stream.try_clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection to its end.
fn serve(
    stream: &TcpStream,
    answer: &impl Fn(&Request) -> Answer,
    shared: &Shared,
) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = match Request::read(&mut reader) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(BadRequest::Io(error)) => return Err(error),
            Err(error) => {
                let refusal = Answer::new(400, "text/plain", format!("{error}\n"));
                return send(stream, &refusal, shared).map(drop);
            }
        };
        let stays = send(stream, &answer(&request), shared)?;
        if !stays || request.closes() {
            return Ok(());
        }
    }
}

/// Sends an answer and returns whether the connection can be used again.
fn send(mut stream: &TcpStream, answer: &Answer, shared: &Shared) -> io::Result<bool> {
    let whole = [answer.head().as_bytes(), &answer.body].concat();
    match answer.manner {
        Manner::Whole => {
            stream.write_all(&whole)?;
            return Ok(true);
        }
        Manner::CutOff => stream.write_all(&whole)?,
        Manner::Raw => stream.write_all(&answer.body)?,
        Manner::Close => {}
        Manner::Drip(pause) => {
            for byte in whole {
                if shared.is_stopped() {
                    break;
                }
                stream.write_all(&[byte])?;
                thread::sleep(pause);
            }
        }
        Manner::Hang => {
            stream.set_read_timeout(Some(HANG_POLL))?;
            while !shared.is_stopped() && !has_gone(stream) {
                thread::sleep(HANG_POLL);
            }
        }
    }
    Ok(false)
}

/// Whether the client has closed the connection.
fn has_gone(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    fn exchange(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        // A connection that is cut off is an error here, and what came before counts.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn server(manner: Manner) -> Server {
        Server::start(move |request| Answer {
            manner,
            ..Answer::new(200, "text/plain", request.target.clone())
        })
        .unwrap()
    }

    const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[test]
    fn request_is_answered() {
        let answer = exchange(&server(Manner::Whole), GET);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\nContent-Length: 6\r\n\r\n/a?b=c"));
    }

    #[test]
    fn connection_serves_several_requests() {
        let two = [b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", GET].concat();
        let answer = exchange(&server(Manner::Whole), &two);
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2);
    }

    #[test]
    fn nonsense_is_refused() {
        let answer = exchange(&server(Manner::Whole), b"hello\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[test]
    fn manners_are_as_they_are_called() {
        let cut = exchange(&server(Manner::CutOff), GET);
        assert!(cut.ends_with("Content-Length: 12\r\n\r\n/a?b=c"), "{cut}");
        assert_eq!(exchange(&server(Manner::Raw), GET), "/a?b=c");
        assert_eq!(exchange(&server(Manner::Close), GET), "");
        let drip = exchange(&server(Manner::Drip(Duration::from_micros(10))), GET);
        assert!(drip.ends_with("/a?b=c"), "{drip}");
    }

    #[test]
    fn hanging_connection_ends_with_the_server() {
        let server = server(Manner::Hang);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(GET).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let begin = Instant::now();
        drop(server);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
