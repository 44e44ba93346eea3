//! TLS at the main listener, with client certificates: for a proxy on another machine, whose headers
//! say who a node is.
//!
//! Nobody gets to speak HTTP there without a certificate of the given authorities, health checks
//! included. Every certificate of theirs counts, so they should have signed nothing but proxies'.
//! Left out: revocation lists; to take a certificate back, change the authority. Connections last so
//! long at most that whoever is no longer let in is out soon.
//!
//! I/O: reads certificates and keys; reads and writes the accepted socket; logs.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use attestation::tls::{HandshakeError, Http, Nobody, Protocol, Step};
use attested_http::server::{Accepting, Handshake, Opened};
use clap::Args;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::identity;
use super::reload::Reloaded;
use crate::limiter::Limiter;

/// For a whole handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once. Who has no certificate costs no more memory and time than these do.
const MOST_HANDSHAKES: usize = 256;

/// How long a connection gets new requests: its certificate was looked at when it began.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);

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
    handshakes: Arc<Semaphore>,
}

impl MutualArguments {
    /// Whether nobody without a certificate gets in.
    pub(super) fn is_on(&self) -> bool {
        self.given().contains(&true)
    }

    fn given(&self) -> [bool; 3] {
        let (certificate, key) = (&self.listen_tls_certificate, &self.listen_tls_key);
        [certificate, key, &self.listen_client_ca].map(Option::is_some)
    }

    /// Reads what the options name; `None` if they don't want it.
    ///
    /// # Errors
    ///
    /// If some of them are missing, or what they name is no good.
    pub(super) fn read(&self) -> anyhow::Result<Option<Arc<Reloaded<Mutual, 3>>>> {
        let (Some(certificate), Some(key), Some(authorities)) = (
            &self.listen_tls_certificate,
            &self.listen_tls_key,
            &self.listen_client_ca,
        ) else {
            if self.is_on() {
                bail!(
                    "--listen-tls-certificate, --listen-tls-key and --listen-client-ca go together"
                );
            }
            return Ok(None);
        };
        let files = [certificate, key, authorities].map(PathBuf::clone);
        let lines = Arc::new(Limiter::new(MOST_LINES, Duration::from_secs(60)));
        let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
        let mutual = move |files: &[Vec<u8>; 3]| {
            Ok(Mutual {
                acceptor: Arc::new(config(files)?).into(),
                lines: Arc::clone(&lines),
                handshakes: Arc::clone(&handshakes),
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
        let accepting = async move {
            // Whoever says nothing takes no turn.
            socket.readable().await?;
            // Fails only if it was closed, which it never is.
            let _permit = self.handshakes.acquire().await;
            self.acceptor.accept(socket).await
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_options_are_no_option() {
        let given = |options: [bool; 3]| {
            let [certificate, key, ca] =
                options.map(|is_given| is_given.then(|| PathBuf::from("/nonexistent")));
            MutualArguments {
                listen_tls_certificate: certificate,
                listen_tls_key: key,
                listen_client_ca: ca,
            }
        };
        for number in 1..7 {
            let some = given([1, 2, 4].map(|bit| number & bit != 0));
            assert!(some.is_on());
            let error = some.read().err().unwrap().to_string();
            assert!(error.contains("go together"), "{error}");
        }
        let none = given([false; 3]);
        assert!(!none.is_on() && none.read().unwrap().is_none());
        let all = given([true; 3]);
        assert!(all.is_on());
        let error = all.read().err().unwrap().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[tokio::test]
    async fn a_handshake_waits_for_its_turn() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let (pem, key) = (
            params.self_signed(&pair).unwrap().pem(),
            pair.serialize_pem(),
        );
        let files = [pem.clone(), key, pem].map(String::into_bytes);
        let mutual = Mutual {
            acceptor: Arc::new(config(&files).unwrap()).into(),
            lines: Arc::new(Limiter::new(1, HANDSHAKE)),
            handshakes: Arc::new(Semaphore::new(0)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        // It goes away at once, which ends a handshake that has begun.
        drop(client.await.unwrap());
        let (socket, address) = listener.accept().await.unwrap();
        let mut accepting = mutual.accept(socket, address.ip());
        let early = timeout(Duration::from_millis(200), &mut accepting).await;
        assert!(early.is_err(), "nobody had a turn to give");
        mutual.handshakes.add_permits(1);
        assert!(matches!(accepting.await, Err(HandshakeError::Tls(_))));
        assert_eq!(mutual.handshakes.available_permits(), 1);
    }
}
