//! The client's side: dials a server, has it prove what it has to, and proves what it asks for.
//!
//! | protocol | server's evidence | server's name | own evidence |
//! |---|---|---|---|
//! | aTLS | in its certificate | instead of evidence: an ordinary certificate | in a certificate |
//! | `flashbots-ratls/1` | after the handshake | as well | after the server's |
//!
//! Own evidence goes out last, to a server that has proven everything.
//!
//! I/O: reads and writes the stream it is given; draws random numbers.

use std::io::Error;
use std::net::Ipv4Addr;

use rustls::pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::alpn::Http;
use super::certificate;
use super::error::{HandshakeError, ProtocolError, Step, within};
use super::message;
use super::nonce::Nonce;
use super::ordinary::{self, NameCheck};
use super::parties::PeerVerifier;
use super::peer::{self, Connected, Protocol, Timeouts};
use super::replay::Replay;
use super::server::fresh_nonce;
use super::stack::{Key, Presented, Stack};
use super::stream::TlsStream;
use crate::attester::Attester;
use crate::binding::{Binding, RATLS_EXPORTER_LABEL};
use crate::evidence::EvidenceKind;

/// How to dial, and what the server has to prove. There is no way to have it prove nothing.
#[derive(Debug)]
pub enum Dial<V> {
    /// aTLS with a server that attests.
    Atls(V),
    /// aTLS with a server that does not attest but has a name, and may ask for evidence.
    AtlsNamed(NameCheck),
    /// `flashbots-ratls/1` with a server that attests, whatever its certificate.
    Ratls(V),
    /// `flashbots-ratls/1` with a server that has a name.
    RatlsNamed(NameCheck),
    /// `flashbots-ratls/1` with a server that attests and has a name.
    RatlsBoth(V, NameCheck),
}

/// Does the handshakes of a client's connections.
pub struct Connector<A, V> {
    dial: Dial<V>,
    attester: Option<A>,
    http: Vec<Http>,
    timeouts: Timeouts,
    stack: Stack,
}

impl<A: Attester, V: PeerVerifier> Connector<A, V> {
    /// Makes the settings that all connections share. `attester` makes the client's evidence, if
    /// it has any; `http` are the versions of HTTP that it speaks, best first.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Settings`] if the TLS library does not work.
    pub fn new(
        dial: Dial<V>,
        attester: Option<A>,
        http: Vec<Http>,
        timeouts: Timeouts,
    ) -> Result<Self, HandshakeError> {
        let stack = Stack::new(&Http::names(&http)).map_err(HandshakeError::settings)?;
        Ok(Self {
            dial,
            attester,
            http,
            timeouts,
            stack,
        })
    }

    /// Does the handshake on `stream`, a new connection to the server.
    ///
    /// `now` is the time at which the server's certificate must be valid.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]; [`fault`](HandshakeError::fault) says whose fault it is. Nothing was
    /// said to the server that it could not have had from anybody, unless it has proven who it is.
    pub async fn connect<S>(
        &self,
        stream: S,
        now: UnixTime,
    ) -> Result<Connected<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = Replay::new(Vec::new(), stream);
        match &self.dial {
            Dial::Atls(verifier) => self.atls(stream, Ok(verifier), now).await,
            Dial::AtlsNamed(name) => self.atls(stream, Err(name), now).await,
            Dial::Ratls(verifier) => self.ratls(stream, Some(verifier), None, now).await,
            Dial::RatlsNamed(name) => self.ratls(stream, None, Some(name), now).await,
            Dial::RatlsBoth(verifier, name) => {
                self.ratls(stream, Some(verifier), Some(name), now).await
            }
        }
    }

    /// The server proves itself to a verifier, or else by its name: aTLS has the nonce where the
    /// name would be.
    async fn atls<S>(
        &self,
        stream: Replay<S>,
        proof: Result<&V, &NameCheck>,
        now: UnixTime,
    ) -> Result<Connected<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let nonce = fresh_nonce()?;
        let server_name = match proof {
            Ok(_) => Some(nonce.to_string()),
            Err(check) => dns_name(check.name()),
        };
        let limit = self.timeouts.handshake;
        let dialed = self.stack.connect(stream, server_name.as_deref());
        let dialed = within(Step::Handshake, limit, dialed).await?;

        let chain = dialed.server_chain();
        let own = chain.first().map(|own| own.to_vec()).unwrap_or_default();
        let peer = match proof {
            Ok(verifier) => {
                let limit = self.timeouts.verifying;
                let nonce = nonce.as_bytes();
                Some(peer::verify_certificate(verifier, &own, nonce, limit).await?)
            }
            Err(check) => {
                check.check(&chain, now)?;
                None
            }
        };
        let presented = self.present(dialed.asked(), now).await?;
        let stream = within(Step::Handshake, limit, dialed.finish(presented)).await?;
        Ok(Connected {
            http: Http::from_agreed(stream.ssl().selected_alpn_protocol()),
            stream: TlsStream::openssl(stream),
            peer,
            certificate: own,
        })
    }

    /// The certificate with evidence for the nonce in the server's request, if there is a request
    /// and anything to prove. Its key is new: one key for many servers would tell them that they
    /// have the same client.
    async fn present(
        &self,
        asked: Option<Vec<Vec<u8>>>,
        now: UnixTime,
    ) -> Result<Option<Presented>, HandshakeError> {
        let (Some(authorities), Some(attester)) = (asked, &self.attester) else {
            return Ok(None);
        };
        let nonce = Nonce::from_authorities(&authorities).map_err(ProtocolError::from)?;
        let key = Key::generate().map_err(HandshakeError::settings)?;
        let binding = Binding::atls(&key.spki, nonce.as_bytes());
        let (kind, document) = self.document(attester, &binding).await?;
        Presented::attested(&key, (kind, &document), now)
            .map(Some)
            .map_err(HandshakeError::settings)
    }

    async fn document(
        &self,
        attester: &A,
        binding: &Binding,
    ) -> Result<(EvidenceKind, Vec<u8>), HandshakeError> {
        within(Step::Attesting, self.timeouts.attesting, async {
            let evidence = attester.attest(binding).await;
            evidence
                .map(|evidence| (attester.shown_as(&evidence), evidence.to_document()))
                .map_err(|error| HandshakeError::Attester(error.into()))
        })
        .await
    }

    async fn ratls<S>(
        &self,
        stream: Replay<S>,
        verifier: Option<&V>,
        name: Option<&NameCheck>,
        now: UnixTime,
    ) -> Result<Connected<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.timeouts.handshake;
        let names = Http::ratls_names(&self.http);
        let config = ordinary::client(name, &names, now).map_err(HandshakeError::settings)?;
        let server = match name {
            Some(check) => check.name().clone(),
            // Without a name none is sent; this stands for it.
            None => ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let handshake = TlsConnector::from(config).connect(server, stream);
        let mut stream = within(Step::Handshake, limit, async {
            let stream = handshake.await;
            stream.map_err(|error| ordinary::failed(error, name.is_some()))
        })
        .await?;

        let (_, session) = stream.get_ref();
        let alpn = session.alpn_protocol().ok_or(ProtocolError::Alpn)?;
        let http = Http::from_agreed(Some(alpn));
        let exporter = session
            .export_keying_material([0; 32], RATLS_EXPORTER_LABEL, None)
            .map_err(|error| HandshakeError::Tls(Error::other(error)))?;
        let own = session.peer_certificates().and_then(|chain| chain.first());
        let own = own.map(|own| own.to_vec()).unwrap_or_default();

        let received = within(Step::Handshake, limit, message::read(&mut stream)).await?;
        let peer = match verifier {
            Some(verifier) => {
                let (kind, document) = received.ok_or(ProtocolError::NoEvidence)?;
                let certificate = certificate::parse(&own).map_err(ProtocolError::from)?;
                let binding = Binding::ratls(Some(certificate.spki), &exporter)
                    .map_err(|_| ProtocolError::from(certificate::CertificateError::Malformed))?;
                let limit = self.timeouts.verifying;
                let evidence = (kind, document.as_slice());
                let verified = peer::verify(verifier, Protocol::Ratls, evidence, binding, limit);
                Some(verified.await?)
            }
            None => None,
        };
        let evidence = self.ratls_evidence(&exporter).await?;
        let evidence = evidence.as_ref();
        let evidence = evidence.map(|(kind, document)| (*kind, document.as_slice()));
        within(
            Step::Handshake,
            limit,
            message::write(&mut stream, evidence),
        )
        .await?;
        Ok(Connected {
            stream: TlsStream::rustls(tokio_rustls::TlsStream::Client(stream)),
            peer,
            http,
            certificate: own,
        })
    }

    /// The client's evidence; it has no certificate, so the session alone is what it is bound to.
    async fn ratls_evidence(
        &self,
        exporter: &[u8; 32],
    ) -> Result<Option<(EvidenceKind, Vec<u8>)>, HandshakeError> {
        let Some(attester) = &self.attester else {
            return Ok(None);
        };
        let binding = Binding::ratls(None, exporter).map_err(HandshakeError::settings)?;
        self.document(attester, &binding).await.map(Some)
    }
}

/// What of a name goes into a ClientHello: addresses do not (RFC 6066, section 3).
fn dns_name(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}
