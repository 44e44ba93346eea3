//! What a connection to a server goes through before HTTP.
//!
//! I/O: reads and writes the socket it is given.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use attestation::attester::Attester;
use attestation::tls::{Connector, HandshakeError, Http, PeerVerifier, Step, VerifiedPeer};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::stream::BoxStream;

/// For a handshake without evidence; the others have limits of their own.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A handshake under way.
pub type Securing<'a, C> =
    Pin<Box<dyn Future<Output = Result<Dialed<C>, HandshakeError>> + Send + 'a>>;

/// Makes TCP connections into ones that may be spoken on: a [`Connector`] with a server that
/// attests or has a name, [`Named`] with an ordinary one, or [`Unsecured`].
pub trait Secure<C>: Send + Sync + 'static {
    /// Does one handshake.
    fn secure(&self, socket: TcpStream) -> Securing<'_, C>;
}

/// A connection on which HTTP may be spoken.
pub struct Dialed<C> {
    /// Its bytes.
    pub stream: BoxStream,
    /// The version of HTTP that was agreed on.
    pub http: Http,
    /// What the server has proven.
    pub peer: Option<VerifiedPeer<C>>,
}

impl<A, V> Secure<V::Claims> for Connector<A, V>
where
    A: Attester + 'static,
    V: PeerVerifier + 'static,
{
    fn secure(&self, socket: TcpStream) -> Securing<'_, V::Claims> {
        Box::pin(async move {
            let connected = self.connect(socket, UnixTime::now()).await?;
            Ok(Dialed {
                stream: Box::new(connected.stream),
                http: connected.http,
                peer: connected.peer,
            })
        })
    }
}

/// TLS with a server whose name an authority vouches for, and no evidence.
#[derive(Clone, Debug)]
pub struct Named {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Named {
    /// A server of this name, for which one of `roots` vouches. `http` are the versions that are
    /// spoken, best first.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Settings`] if the TLS library does not work.
    pub fn new(
        name: ServerName<'static>,
        roots: RootCertStore,
        http: &[Http],
    ) -> Result<Self, HandshakeError> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HandshakeError::Settings(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = http.iter().map(|http| alpn(*http).to_vec()).collect();
        Ok(Self {
            name,
            config: Arc::new(config),
        })
    }
}

impl<C: Send + 'static> Secure<C> for Named {
    fn secure(&self, socket: TcpStream) -> Securing<'_, C> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connecting = connector.connect(self.name.clone(), socket);
        Box::pin(async move {
            let (step, limit) = (Step::Handshake, HANDSHAKE);
            let stream = match timeout(limit, connecting).await {
                Ok(stream) => stream.map_err(refused)?,
                Err(_) => return Err(HandshakeError::TimedOut { step, limit }),
            };
            let (_, session) = stream.get_ref();
            let is_http2 = session.alpn_protocol() == Some(alpn(Http::Http2));
            Ok(Dialed {
                http: if is_http2 { Http::Http2 } else { Http::Http1 },
                stream: Box::new(stream),
                peer: None,
            })
        })
    }
}

/// What a failed handshake was about: names are the only thing that is checked here.
fn refused(error: std::io::Error) -> HandshakeError {
    let rustls = error.get_ref().and_then(|error| error.downcast_ref());
    match rustls {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            HandshakeError::Name(rustls::Error::InvalidCertificate(reason.clone()))
        }
        _ => HandshakeError::Tls(error),
    }
}

fn alpn(http: Http) -> &'static [u8] {
    match http {
        Http::Http1 => b"http/1.1",
        Http::Http2 => b"h2",
    }
}

/// No handshake, for a server on this machine; HTTP/1.1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsecured;

impl<C: Send + 'static> Secure<C> for Unsecured {
    fn secure(&self, socket: TcpStream) -> Securing<'_, C> {
        Box::pin(async move {
            Ok(Dialed {
                stream: Box::new(socket),
                http: Http::Http1,
                peer: None,
            })
        })
    }
}
