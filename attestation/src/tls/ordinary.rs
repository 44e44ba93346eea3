//! rustls: ordinary TLS, and TLS 1.3 under `flashbots-ratls/1`.
//!
//! No session is ever resumed: neither tickets nor a cache exist on either side.
//!
//! I/O: none.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::error::HandshakeError;

/// Both versions that are spoken.
pub(super) const ANY: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The version whose exporter `flashbots-ratls/1` needs.
pub(super) const ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// A server's certificate, its issuers, and the key.
///
/// Has no `Debug`, so that it cannot be logged.
pub struct Identity {
    /// The certificate, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
}

/// A server of `identity` that agrees on one of `alpn`.
pub(super) fn server(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&'static [u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let key = provider
        .key_provider
        .load_private_key(identity.key.clone_key())?;
    let certified = CertifiedKey::new(identity.chain.clone(), key);
    certified.keys_match()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that speaks TLS 1.3 only, and checks the server's name if there is a `name` to check.
pub(super) fn client(
    name: Option<&NameCheck>,
    alpn: &[&'static [u8]],
    now: UnixTime,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = KeyOrName {
        name: name.cloned(),
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Fixed(now)))
        .with_protocol_versions(ONLY_1_3)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_sni = name.is_some();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The server a client means to reach, and who may vouch for its name.
#[derive(Clone)]
pub struct NameCheck {
    name: ServerName<'static>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for NameCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NameCheck({:?})", self.name)
    }
}

impl NameCheck {
    /// Accepts certificates for `name` that one of `roots` vouches for, and no others.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Settings`] if there are no roots.
    pub fn new(name: ServerName<'static>, roots: RootCertStore) -> Result<Self, HandshakeError> {
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(HandshakeError::settings)?;
        Ok(Self { name, webpki })
    }

    /// The name.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Checks a chain, the server's own certificate first.
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), HandshakeError> {
        let Some((leaf, issuers)) = chain.split_first() else {
            return Err(HandshakeError::Name(rustls::Error::NoCertificatesPresented));
        };
        self.webpki
            .verify_server_cert(leaf, issuers, &self.name, &[], now)
            .map(|_| ())
            .map_err(HandshakeError::Name)
    }
}

/// Verifies that the server has its certificate's key and, with a name, who it is. Without one,
/// evidence has to say that.
#[derive(Debug)]
struct KeyOrName {
    name: Option<NameCheck>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for KeyOrName {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.name {
            Some(check) => check
                .webpki
                .verify_server_cert(leaf, issuers, &check.name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The time that was passed in.
#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// What a failed rustls handshake was about.
pub(super) fn failed(error: std::io::Error, checks_name: bool) -> HandshakeError {
    let rustls = error.get_ref().and_then(|error| error.downcast_ref());
    match rustls {
        Some(rustls::Error::InvalidCertificate(reason)) if checks_name => {
            HandshakeError::Name(rustls::Error::InvalidCertificate(reason.clone()))
        }
        _ => HandshakeError::Tls(error),
    }
}
