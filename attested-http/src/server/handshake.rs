//! What a connection goes through before HTTP.
//!
//! I/O: reads and writes the accepted socket.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use attestation::attester::Attester;
use attestation::tls::{Acceptor, HandshakeError, Http, PeerVerifier, Protocol, VerifiedPeer};
use rustls::pki_types::UnixTime;
use tokio::net::TcpStream;

use crate::stream::BoxStream;

/// A handshake under way.
pub type Accepting<'a, C> =
    Pin<Box<dyn Future<Output = Result<Opened<C>, HandshakeError>> + Send + 'a>>;

/// Does the handshakes of a server's connections: an [`Acceptor`], or [`Unencrypted`].
pub trait Handshake<C>: Send + Sync + 'static {
    /// Does one, within limits of its own.
    fn accept(&self, socket: TcpStream, address: IpAddr) -> Accepting<'_, C>;
}

/// A connection on which HTTP may be spoken.
pub struct Opened<C> {
    /// Its bytes.
    pub stream: BoxStream,
    /// How the handshake was done.
    pub protocol: Protocol,
    /// Whether there was any.
    pub is_encrypted: bool,
    /// The version of HTTP that was agreed on; `None` if the first bytes have to tell.
    pub http: Option<Http>,
    /// What the peer has proven.
    pub peer: Option<VerifiedPeer<C>>,
}

impl<A, V> Handshake<V::Claims> for Acceptor<A, V>
where
    A: Attester + 'static,
    V: PeerVerifier + 'static,
    V::Claims: Send + Sync + 'static,
{
    fn accept(&self, socket: TcpStream, address: IpAddr) -> Accepting<'_, V::Claims> {
        Box::pin(async move {
            let accepted = Acceptor::accept(self, socket, address, UnixTime::now()).await?;
            Ok(Opened {
                stream: Box::new(accepted.stream),
                protocol: accepted.protocol,
                is_encrypted: true,
                http: Some(accepted.http),
                peer: accepted.peer,
            })
        })
    }
}

/// No handshake, for a listener that only this machine reaches. Peers speak HTTP/1.1, or HTTP/2 of
/// which they know beforehand (RFC 9113, section 3.3).
#[derive(Clone, Copy, Debug, Default)]
pub struct Unencrypted;

impl<C: Send + 'static> Handshake<C> for Unencrypted {
    fn accept(&self, socket: TcpStream, _: IpAddr) -> Accepting<'_, C> {
        Box::pin(async move {
            Ok(Opened {
                stream: Box::new(socket),
                protocol: Protocol::Plain,
                is_encrypted: false,
                http: None,
                peer: None,
            })
        })
    }
}

/// A handshake that is replaced while the server runs, such as by one with a renewed certificate.
/// Connections keep the one they came by.
pub struct Replaceable<H>(RwLock<Arc<H>>);

impl<H> Replaceable<H> {
    /// Starts with `first`.
    pub fn new(first: H) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    /// Does the handshakes of all connections from now on with `next`.
    pub fn replace(&self, next: H) {
        // Nothing can panic while it is locked, so a poisoned lock is as good as another.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn now(&self) -> Arc<H> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<C: Send + 'static, H: Handshake<C>> Handshake<C> for Arc<Replaceable<H>> {
    fn accept(&self, socket: TcpStream, address: IpAddr) -> Accepting<'_, C> {
        let handshake = self.now();
        Box::pin(async move { handshake.accept(socket, address).await })
    }
}
