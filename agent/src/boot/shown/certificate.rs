//! The certificate that a server of this machine shows, whoever has vouched for it.
//!
//! I/O: one TLS handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A server of this machine that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// SHA-256 of the certificate's DER, lower-case hex. Whoever shows it has its key; nothing else is known about them,
/// and nothing may be told them.
///
/// # Errors
///
/// Nobody answers there, or not by TLS.
pub(super) async fn shown_at(address: SocketAddr) -> anyhow::Result<String> {
    let shown = timeout(PATIENCE, handshake(address)).await;
    shown.with_context(|| format!("no handshake within {} s", PATIENCE.as_secs()))?
}

async fn handshake(address: SocketAddr) -> anyhow::Result<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever(provider)))
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await.context("connect")?;
    let connector = TlsConnector::from(Arc::new(config));
    // An address is not sent: the server shows what it shows by default.
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = connector
        .connect(name, socket)
        .await
        .context("do a handshake")?;
    let (_, connection) = stream.get_ref();
    let shown = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|it| fingerprint(it));
    // Whether it hears that does not matter.
    let _ = stream.shutdown().await;
    shown.context("it has none")
}

fn fingerprint(certificate: &[u8]) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

/// Takes every certificate whose key signs the handshake.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::identity::Identity;

    /// A server with this identity; where.
    pub(in crate::boot::shown) async fn server(identity: &Identity) -> SocketAddr {
        let bundle = identity.bundle();
        let key = PrivateKeyDer::from_pem_slice(&bundle).unwrap();
        let chain = CertificateDer::pem_slice_iter(&bundle).map(Result::unwrap);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = acceptor.accept(socket).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_is_known_by_the_certificate_that_it_shows() {
        let [one, other] = [(); 2].map(|()| Identity::generate(&[], None).unwrap());
        let address = server(&one).await;
        for _ in 0..2 {
            assert_eq!(shown_at(address).await.unwrap(), one.fingerprint());
        }
        let address = server(&other).await;
        assert_eq!(shown_at(address).await.unwrap(), other.fingerprint());
    }

    #[tokio::test]
    async fn who_does_not_answer_or_speaks_no_tls_shows_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
        });
        let error = shown_at(address).await.unwrap_err();
        assert!(format!("{error:#}").contains("do a handshake"), "{error:#}");
        answers.await.unwrap().unwrap();
        let error = shown_at(address).await.unwrap_err();
        assert!(format!("{error:#}").contains("connect"), "{error:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = shown_at(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(format!("{error:#}").contains("within 10 s"), "{error:#}");
    }
}
