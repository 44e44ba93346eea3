//! Accepted sockets, and patience when there are none to be had.
//!
//! I/O: accepts on the listening socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// First and longest wait after the kernel could not give a socket.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(super) struct Incoming {
    listener: TcpListener,
    backoff: Option<Duration>,
}

impl Incoming {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            backoff: None,
        }
    }

    /// The next connection. May be cancelled: what it waits for then is tried at once.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.backoff = None;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {}
                // No descriptors or no memory: the pending connection stays pending, so trying
                // again at once would spin.
                Err(error) => {
                    if self.backoff.is_none() {
                        tracing::error!("accept: {error}");
                    }
                    let wait = self.backoff.unwrap_or(BACKOFF.0);
                    self.backoff = Some(wait.saturating_mul(2).min(BACKOFF.1));
                    sleep(wait).await;
                }
            }
        }
    }
}

/// Whether the error only says that one pending connection died, `accept(2)`.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}
