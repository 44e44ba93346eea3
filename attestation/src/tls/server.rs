//! The server's side: one port, three kinds of clients, told apart by their first message.
//!
//! | the ClientHello has | the server speaks | its certificate |
//! |---|---|---|
//! | an ALPN name of `flashbots-ratls/1` | that, TLS 1.3 | its own |
//! | a nonce as server name | aTLS | made for this connection, with evidence |
//! | neither | ordinary TLS | its own |
//!
//! A server that has a verifier lets nobody through without evidence: who speaks ordinary TLS
//! then is asked for an aTLS certificate, which is how a server with a name of its own, such as
//! a hub, verifies attested clients.
//!
//! I/O: reads and writes the stream it is given; draws random numbers.

use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::alpn::{self, Http};
use super::client_hello::{self, ClientHello, LONGEST_HELLO, MOST_RECORDS, Parsed};
use super::error::{HandshakeError, ProtocolError, Step, within};
use super::gate::{Gate, Permit};
use super::limits::Bounds;
use super::message;
use super::nonce::Nonce;
use super::ordinary::{self, Identity};
use super::parties::PeerVerifier;
use super::peer::{self, Accepted, Protocol, Timeouts, VerifiedPeer};
use super::replay::Replay;
use super::stack::{Key, Presented, Stack};
use super::stream::TlsStream;
use crate::attester::Attester;
use crate::binding::{Binding, RATLS_EXPORTER_LABEL};
use crate::evidence::{EvidenceKind, MAX_DOCUMENT};

/// Bytes that are read at once while waiting for a ClientHello.
const HELLO_CHUNK: usize = 4096;

/// What an [`Acceptor`] is made of.
pub struct ServerSettings<A, V> {
    /// The server's own certificate, for everybody who does not speak aTLS.
    pub identity: Identity,
    /// Makes the server's evidence.
    pub attester: Option<A>,
    /// Verifies evidence of clients. With one, clients without evidence are refused.
    pub verifier: Option<V>,
    /// The versions of HTTP that the server speaks, best first.
    pub http: Vec<Http>,
    /// Who may take how much.
    pub bounds: Bounds,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// Does the handshakes of a server's connections.
pub struct Acceptor<A, V> {
    attester: Option<A>,
    verifier: Option<V>,
    timeouts: Timeouts,
    gate: Gate,
    stack: Stack,
    /// Of aTLS certificates.
    key: Key,
    /// Shown where rustls cannot serve and no evidence was asked for.
    ordinary: Presented,
    plain: Arc<ServerConfig>,
    ratls: Arc<ServerConfig>,
    /// The own certificate's key, to which `flashbots-ratls/1` binds evidence.
    spki: Vec<u8>,
}

/// What a client is served, after its ClientHello.
enum Way {
    Ratls,
    Atls(Nonce),
    /// Ordinary TLS in which the client has to show evidence.
    Asking,
    Plain,
}

impl<A: Attester, V: PeerVerifier> Acceptor<A, V> {
    /// Makes the keys and settings that all connections share.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Settings`] if certificate and key do not work.
    pub fn new(settings: ServerSettings<A, V>) -> Result<Self, HandshakeError> {
        let identity = &settings.identity;
        let names = Http::names(&settings.http);
        let ratls_names = Http::ratls_names(&settings.http);
        let spki = match identity.chain.first() {
            Some(own) => {
                super::certificate::parse(own)
                    .map_err(HandshakeError::settings)?
                    .spki
            }
            None => return Err(HandshakeError::settings("no certificate")),
        };
        let ordinary = Presented::ordinary(&identity.chain, &identity.key)
            .map_err(HandshakeError::settings)?
            .ok_or_else(|| HandshakeError::settings("no certificate"))?;
        Ok(Self {
            timeouts: settings.timeouts,
            gate: Gate::new(settings.bounds),
            stack: Stack::new(&names).map_err(HandshakeError::settings)?,
            key: Key::generate().map_err(HandshakeError::settings)?,
            ordinary,
            plain: ordinary::server(identity, ordinary::ANY, &names)
                .map_err(HandshakeError::settings)?,
            ratls: ordinary::server(identity, ordinary::ONLY_1_3, &ratls_names)
                .map_err(HandshakeError::settings)?,
            spki: spki.to_vec(),
            attester: settings.attester,
            verifier: settings.verifier,
        })
    }

    /// Does the handshake on `stream`, a new connection from `address`.
    ///
    /// May take as long as all of [`Timeouts`] together; dropping it ends the handshake and
    /// frees what it holds. `now` dates the certificate that is made for the connection.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`], whose [`fault`](HandshakeError::fault) says whether it is worth a log
    /// line. The connection is over.
    pub async fn accept<S>(
        &self,
        stream: S,
        address: IpAddr,
        now: UnixTime,
    ) -> Result<Accepted<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (permit, evicted) = self.gate.enter(address)?;
        tokio::select! {
            biased;
            () = evicted.wait() => Err(HandshakeError::Evicted),
            accepted = self.handshake(stream, &permit, now) => accepted,
        }
    }

    async fn handshake<S>(
        &self,
        stream: S,
        permit: &Permit,
        now: UnixTime,
    ) -> Result<Accepted<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.timeouts.hello;
        let (hello, stream) = within(Step::Hello, limit, read_hello(stream)).await?;
        permit.progressed();
        match self.way(&hello) {
            Way::Ratls => self.ratls(stream, permit).await,
            Way::Atls(nonce) => {
                let presented = self.attested(permit, &nonce, now).await?;
                self.atls(stream, &presented, Protocol::Atls).await
            }
            Way::Asking => self.atls(stream, &self.ordinary, Protocol::Atls).await,
            Way::Plain => self.plain(stream).await,
        }
    }

    fn way(&self, hello: &ClientHello) -> Way {
        if alpn::wants_ratls(&hello.alpn) {
            return Way::Ratls;
        }
        let nonce = hello
            .server_name
            .as_deref()
            .and_then(Nonce::from_server_name);
        match nonce {
            Some(nonce) => Way::Atls(nonce),
            None if self.verifier.is_some() => Way::Asking,
            None => Way::Plain,
        }
    }

    /// The certificate with evidence for `nonce`; the ordinary one if there is nothing to prove.
    async fn attested(
        &self,
        permit: &Permit,
        nonce: &Nonce,
        now: UnixTime,
    ) -> Result<Presented, HandshakeError> {
        let binding = Binding::atls(&self.key.spki, nonce.as_bytes());
        let Some((kind, document)) = self.evidence(permit, &binding).await? else {
            return Ok(self.ordinary.clone());
        };
        if document.len() > MAX_DOCUMENT {
            let actual = document.len();
            let error = format!("document of {actual} bytes, expected at most {MAX_DOCUMENT}");
            return Err(HandshakeError::Attester(error.into()));
        }
        Presented::attested(&self.key, (kind, &document), now).map_err(HandshakeError::settings)
    }

    /// Evidence for `binding`, when it is this handshake's turn.
    async fn evidence(
        &self,
        permit: &Permit,
        binding: &Binding,
    ) -> Result<Option<(EvidenceKind, Vec<u8>)>, HandshakeError> {
        let Some(attester) = &self.attester else {
            return Ok(None);
        };
        let turn = within(Step::Turn, self.timeouts.turn, async {
            Ok(permit.turn().await)
        });
        let _turn = turn.await?;
        let document = within(Step::Attesting, self.timeouts.attesting, async {
            let evidence = attester.attest(binding).await;
            evidence
                .map(|evidence| (attester.shown_as(&evidence), evidence.to_document()))
                .map_err(|error| HandshakeError::Attester(error.into()))
        });
        document.await.map(Some)
    }

    /// aTLS, or ordinary TLS with a client that has to attest.
    async fn atls<S>(
        &self,
        stream: Replay<S>,
        presented: &Presented,
        protocol: Protocol,
    ) -> Result<Accepted<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let nonce = fresh_nonce()?;
        let asked = self.verifier.as_ref().map(|_| &nonce);
        let handshake = self.stack.accept(stream, presented, asked);
        let limit = self.timeouts.handshake;
        let (stream, certificate) = within(Step::Handshake, limit, handshake).await?;

        let peer = match &self.verifier {
            Some(verifier) => {
                let certificate = certificate.ok_or(ProtocolError::NoEvidence)?;
                let limit = self.timeouts.verifying;
                let nonce = nonce.as_bytes();
                Some(peer::verify_certificate(verifier, &certificate, nonce, limit).await?)
            }
            None => None,
        };
        Ok(Accepted {
            http: Http::from_agreed(stream.ssl().selected_alpn_protocol()),
            stream: TlsStream::openssl(stream),
            peer,
            protocol,
        })
    }

    async fn ratls<S>(
        &self,
        stream: Replay<S>,
        permit: &Permit,
    ) -> Result<Accepted<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.timeouts.handshake;
        let mut stream = self.rustls(&self.ratls, stream).await?;
        permit.progressed();
        let (_, session) = stream.get_ref();
        let exporter = session
            .export_keying_material([0; 32], RATLS_EXPORTER_LABEL, None)
            .map_err(|error| HandshakeError::Tls(Error::other(error)))?;
        let http = Http::from_agreed(session.alpn_protocol());

        let binding = Binding::ratls(Some(&self.spki), &exporter);
        let binding = binding.map_err(HandshakeError::settings)?;
        let evidence = self.evidence(permit, &binding).await?;
        let exchange = async {
            let evidence = evidence.as_ref();
            let evidence = evidence.map(|(kind, document)| (*kind, document.as_slice()));
            message::write(&mut stream, evidence).await?;
            message::read(&mut stream).await
        };
        let received = within(Step::Handshake, limit, exchange).await?;
        let peer = self.verify_ratls(received, &exporter).await?;
        Ok(Accepted {
            stream: TlsStream::rustls(tokio_rustls::TlsStream::Server(stream)),
            peer,
            protocol: Protocol::Ratls,
            http,
        })
    }

    async fn verify_ratls(
        &self,
        received: message::Sent,
        exporter: &[u8; 32],
    ) -> Result<Option<VerifiedPeer<V::Claims>>, HandshakeError> {
        let Some(verifier) = &self.verifier else {
            // Evidence that nobody asked for proves nothing to anybody.
            return Ok(None);
        };
        let (kind, document) = received.ok_or(ProtocolError::NoEvidence)?;
        // Clients are not asked for certificates, so they have no key. This side's evidence is
        // bound to one, so it cannot be sent back for theirs.
        let binding = Binding::ratls(None, exporter).map_err(HandshakeError::settings)?;
        let limit = self.timeouts.verifying;
        peer::verify(verifier, Protocol::Ratls, (kind, &document), binding, limit)
            .await
            .map(Some)
    }

    async fn plain<S>(&self, stream: Replay<S>) -> Result<Accepted<S, V::Claims>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.rustls(&self.plain, stream).await?;
        Ok(Accepted {
            http: Http::from_agreed(stream.get_ref().1.alpn_protocol()),
            stream: TlsStream::rustls(tokio_rustls::TlsStream::Server(stream)),
            peer: None,
            protocol: Protocol::Plain,
        })
    }

    async fn rustls<S>(
        &self,
        config: &Arc<ServerConfig>,
        stream: Replay<S>,
    ) -> Result<tokio_rustls::server::TlsStream<Replay<S>>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        within(Step::Handshake, self.timeouts.handshake, async {
            handshake.await.map_err(HandshakeError::Tls)
        })
        .await
    }
}

/// Reads until there is a ClientHello, and puts everything back in front.
async fn read_hello<S>(mut stream: S) -> Result<(ClientHello, Replay<S>), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    /// What `client_hello::parse` needs at most, and a last read too many.
    const MOST: usize = LONGEST_HELLO + 5 * MOST_RECORDS + 4 + HELLO_CHUNK;

    let mut seen = Vec::new();
    loop {
        match client_hello::parse(&seen) {
            Parsed::Hello(hello) => return Ok((hello, Replay::new(seen, stream))),
            Parsed::Error(error) => return Err(error.into()),
            Parsed::NeedMore => {}
        }
        seen.reserve(HELLO_CHUNK);
        let room = u64::try_from(HELLO_CHUNK).unwrap_or(u64::MAX);
        let read = (&mut stream).take(room).read_buf(&mut seen).await;
        let is_end = read.map_err(HandshakeError::Tls)? == 0 || seen.len() > MOST;
        if is_end {
            return Err(HandshakeError::Tls(ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// A nonce for this connection alone.
pub(super) fn fresh_nonce() -> Result<Nonce, HandshakeError> {
    Nonce::fresh().ok_or_else(|| HandshakeError::settings("no randomness"))
}
