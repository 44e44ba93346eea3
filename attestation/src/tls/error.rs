//! What can go wrong until a connection is there, sorted by whose fault it is.
//!
//! I/O: none.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::certificate::CertificateError;
use super::client_hello::HelloError;
use super::limits::Full;
use super::message::MessageError;
use super::nonce::NonceError;
use crate::evidence::EvidenceKind;

/// An error of an attester or a verifier, whichever they are.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no attested connection. Nothing was said to the application on either side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No place for another handshake.
    #[error("no place for another handshake")]
    Full(#[from] Full),
    /// The place went to a peer that had less.
    #[error("the handshake's place was given to another peer")]
    Evicted,
    /// Something took too long.
    #[error("{step} took longer than {limit:?}")]
    TimedOut {
        /// What was under way.
        step: Step,
        /// What it may take.
        limit: Duration,
    },
    /// The first bytes are no ClientHello.
    #[error("the peer is no TLS client")]
    Hello(#[from] HelloError),
    /// TLS itself failed, or the connection broke.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The peer does not speak the protocol that was chosen.
    #[error("the peer does not keep to the protocol")]
    Protocol(#[from] ProtocolError),
    /// The peer's evidence does not prove what it has to.
    #[error("the peer's {kind} evidence was refused")]
    Evidence {
        /// Kind of the evidence.
        kind: EvidenceKind,
        /// The verifier's reason.
        source: BoxError,
    },
    /// The server's certificate is not that of the server that was asked for.
    #[error("the server's certificate was refused")]
    Name(#[source] rustls::Error),
    /// This side's evidence could not be made.
    #[error("own evidence could not be made")]
    Attester(#[source] BoxError),
    /// This side's keys, certificates or settings do not work.
    #[error("own TLS settings do not work")]
    Settings(#[source] BoxError),
}

/// How a peer that speaks TLS departs from what it has to say within.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The certificate is unusable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The peer has to prove something and does not.
    #[error("the peer shows no evidence")]
    NoEvidence,
    /// The server's nonce cannot be read.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// The message with evidence cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer agreed to none of the protocol's ALPN names.
    #[error("the peer does not speak flashbots-ratls/1")]
    Alpn,
}

/// What may take too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Waiting for the whole ClientHello.
    Hello,
    /// Waiting for a turn to make evidence.
    Turn,
    /// Making this side's evidence.
    Attesting,
    /// The TLS handshake and what follows it on the wire.
    Handshake,
    /// Verifying the peer's evidence.
    Verifying,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hello => "waiting for the ClientHello",
            Self::Turn => "waiting for a turn to make evidence",
            Self::Attesting => "making evidence",
            Self::Handshake => "the handshake",
            Self::Verifying => "verifying the peer's evidence",
        })
    }
}

/// Whose fault it is, for logs, counters and retries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The peer, or the network, broke the handshake. Of no interest on a public server.
    Peer,
    /// The peer spoke well and is not what it has to be.
    PeerIdentity,
    /// This side cannot do its part. An operator has to look.
    Local,
    /// Somebody was too slow.
    Time,
    /// More handshakes than the limits allow.
    Load,
}

impl HandshakeError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Full(_)
            | Self::Evicted
            | Self::TimedOut {
                step: Step::Turn, ..
            } => Fault::Load,
            Self::TimedOut {
                step: Step::Attesting,
                ..
            }
            | Self::Attester(_)
            | Self::Settings(_) => Fault::Local,
            Self::TimedOut { .. } => Fault::Time,
            Self::Hello(_) | Self::Tls(_) => Fault::Peer,
            Self::Protocol(ProtocolError::NoEvidence) | Self::Evidence { .. } | Self::Name(_) => {
                Fault::PeerIdentity
            }
            Self::Protocol(_) => Fault::Peer,
        }
    }

    pub(super) fn settings(error: impl Into<BoxError>) -> Self {
        Self::Settings(error.into())
    }
}

/// `future`, if it does not take longer than `limit`.
pub(super) async fn within<T>(
    step: Step,
    limit: Duration,
    future: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::TimedOut { step, limit }),
    }
}
