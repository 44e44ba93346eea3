//! TLS at the main listener, with client certificates: for a proxy on another machine, whose headers
//! say who a node is.
//!
//! Nobody gets to speak HTTP there without a certificate of the given authorities, health checks
//! included. Every certificate of theirs counts, so they should have signed nothing but proxies'.
//! Left out: revocation lists; to take a certificate back, change the authority.
//!
//! I/O: reads certificates and keys; reads and writes the accepted socket; logs.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use attestation::tls::{HandshakeError, Http, Nobody, Protocol, Step};
use attested_http::server::{Accepting, Handshake, Opened};
use clap::Args;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::identity;
use super::reload::Reloaded;
use crate::limiter::Limiter;

/// For a whole handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Refused certificates of one address that are logged in a minute.
const MOST_LINES: u32 = 10;

/// Who may connect to the main listener, and what it shows them.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS with client certificates at the main listener")]
pub(crate) struct MutualArguments {
    /// Speak TLS only at the main listener, with this certificate, then its issuers, as PEM
    #[arg(long, value_name = "FILE", requires_all = ["listen_tls_key", "listen_client_ca"])]
    listen_tls_certificate: Option<PathBuf>,

    /// That certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "listen_tls_certificate")]
    listen_tls_key: Option<PathBuf>,

    /// Let in only who has a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE", requires = "listen_tls_certificate")]
    listen_client_ca: Option<PathBuf>,
}

/// Does the handshakes.
pub(super) struct Mutual {
    acceptor: TlsAcceptor,
    lines: Arc<Limiter>,
}

impl MutualArguments {
    /// Whether nobody without a certificate gets in.
    pub(super) fn is_on(&self) -> bool {
        self.listen_client_ca.is_some()
    }

    /// Reads what the options name; `None` if they don't want it.
    pub(super) fn read(&self) -> anyhow::Result<Option<Arc<Reloaded<Mutual, 3>>>> {
        let (Some(certificate), Some(key), Some(authorities)) = (
            &self.listen_tls_certificate,
            &self.listen_tls_key,
            &self.listen_client_ca,
        ) else {
            return Ok(None);
        };
        let files = [certificate, key, authorities].map(PathBuf::clone);
        let lines = Arc::new(Limiter::new(MOST_LINES, Duration::from_secs(60)));
        let mutual = move |files: &[Vec<u8>; 3]| {
            Ok(Mutual {
                acceptor: Arc::new(config(files)?).into(),
                lines: Arc::clone(&lines),
            })
        };
        let mutual = Reloaded::new("TLS at the main listener", files, mutual)?;
        Ok(Some(Arc::new(mutual)))
    }
}

fn config([certificate, key, authorities]: &[Vec<u8>; 3]) -> anyhow::Result<ServerConfig> {
    let own = identity::read(certificate, key)?;
    let roots = crate::roots::parse(authorities).context("read the clients' authorities")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .context("use the clients' authorities")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(own.chain, own.key)
        .context("use certificate and key")?;
    // A resumed session would be one of an authority that may have been replaced.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Mutual {
    /// Logs that a certificate was not good enough, or not there; nothing else is of interest.
    fn failed(&self, address: IpAddr, error: &io::Error) {
        let rustls = error.get_ref().and_then(|error| error.downcast_ref());
        let Some(
            error @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented),
        ) = rustls
        else {
            return;
        };
        if self.lines.take(address, Instant::now()).is_ok() {
            tracing::warn!(%address, %error, "a client's certificate was refused");
        }
    }
}

impl Handshake<Nobody> for Mutual {
    fn accept(&self, socket: TcpStream, address: IpAddr) -> Accepting<'_, Nobody> {
        let accepting = self.acceptor.accept(socket);
        Box::pin(async move {
            let (step, limit) = (Step::Handshake, HANDSHAKE);
            let stream = match timeout(limit, accepting).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    self.failed(address, &error);
                    return Err(HandshakeError::Tls(error));
                }
                Err(_) => return Err(HandshakeError::TimedOut { step, limit }),
            };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(Opened {
                stream: Box::new(stream),
                protocol: Protocol::Plain,
                is_encrypted: true,
                http: Some(if is_http2 { Http::Http2 } else { Http::Http1 }),
                peer: None,
            })
        })
    }
}
