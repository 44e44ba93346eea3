//! Why a request has no answer.
//!
//! I/O: none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use attestation::tls::HandshakeError;

/// Why a request has no answer. All but the last two say that the server never saw it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The server's name has no address.
    #[error("find the address of {target}")]
    Resolve {
        /// The server, host and port.
        target: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server takes no connection, at any of its addresses.
    #[error("connect to {target}")]
    Connect {
        /// The server, host and port.
        target: String,
        /// What the last address did.
        #[source]
        source: io::Error,
    },
    /// The server has not proven what it has to, or the handshake failed.
    #[error("establish a connection with {target}")]
    Handshake {
        /// The server, host and port.
        target: String,
        /// What went wrong.
        #[source]
        source: HandshakeError,
    },
    /// The server could not be reached a moment ago and is not tried again yet.
    #[error("the server could not be reached, next try in {} ms: {cause}", .next.as_millis())]
    Pausing {
        /// Until the next try.
        next: Duration,
        /// What went wrong, with all causes.
        cause: Arc<str>,
    },
    /// Too many requests are under way.
    #[error("no place for the request within {limit:?}")]
    Busy {
        /// How long it waited.
        limit: Duration,
    },
    /// The request cannot be sent to this server.
    #[error("the request's path does not go with the server's address")]
    Path(#[source] hyper::http::Error),
    /// The connection was closed before the request was sent.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// How long it had.
        limit: Duration,
    },
    /// The connection broke, or what came is not HTTP, or the request's body broke off.
    #[error("exchange HTTP messages")]
    Http(#[source] hyper::Error),
}

impl UpstreamError {
    /// How long there is no use in trying again.
    pub fn next_try(&self) -> Option<Duration> {
        match self {
            Self::Pausing { next, .. } => Some(*next),
            _ => None,
        }
    }
}
