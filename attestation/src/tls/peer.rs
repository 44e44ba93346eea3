//! What a finished handshake has proven.
//!
//! I/O: none.

use std::time::Duration;

use super::alpn::Http;
use super::certificate;
use super::error::{HandshakeError, ProtocolError, Step, within};
use super::parties::{PeerVerifier, Shown};
use super::stream::TlsStream;
use crate::binding::Binding;
use crate::evidence::EvidenceKind;

/// How evidence was exchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// Constellation-style aTLS: in certificates, bound to key and nonce.
    Atls,
    /// `flashbots-ratls/1`: after the handshake, bound to key and session.
    Ratls,
    /// Not at all.
    Plain,
}

/// A connection that a server accepted.
#[derive(Debug)]
pub struct Accepted<S, C> {
    /// Application data.
    pub stream: TlsStream<S>,
    /// What the client has proven; always there if the server has a verifier.
    pub peer: Option<VerifiedPeer<C>>,
    /// How.
    pub protocol: Protocol,
    /// What the client speaks next.
    pub http: Http,
}

/// A connection that a client made.
#[derive(Debug)]
pub struct Connected<S, C> {
    /// Application data.
    pub stream: TlsStream<S>,
    /// What the server has proven; always there if the client has a verifier.
    pub peer: Option<VerifiedPeer<C>>,
    /// What the server speaks next.
    pub http: Http,
    /// The server's certificate, DER.
    pub certificate: Vec<u8>,
}

/// Proof that a peer's evidence was verified for this very connection. Made here only.
#[derive(Clone, Debug)]
pub struct VerifiedPeer<C> {
    kind: EvidenceKind,
    claims: C,
    document: Vec<u8>,
    binding: Binding,
}

impl<C> VerifiedPeer<C> {
    /// What kind of evidence it was.
    pub fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// What the verifier made of it.
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// The document, to be kept as a record.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// What it was bound to, to be kept with it.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The claims alone.
    pub fn into_claims(self) -> C {
        self.claims
    }
}

/// Has `document` verified.
pub(super) async fn verify<V: PeerVerifier>(
    verifier: &V,
    protocol: Protocol,
    (kind, document): (EvidenceKind, &[u8]),
    binding: Binding,
    limit: Duration,
) -> Result<VerifiedPeer<V::Claims>, HandshakeError> {
    let claims = within(Step::Verifying, limit, async {
        let verified = verifier.verify(Shown {
            protocol,
            kind,
            document,
            binding: &binding,
        });
        let verified = verified.await;
        verified.map_err(|source| HandshakeError::Evidence { kind, source })
    });
    Ok(VerifiedPeer {
        claims: claims.await?,
        kind,
        document: document.to_vec(),
        binding,
    })
}

/// Has the evidence in an aTLS certificate verified, which must be for `nonce`.
pub(super) async fn verify_certificate<V: PeerVerifier>(
    verifier: &V,
    der: &[u8],
    nonce: &[u8],
    limit: Duration,
) -> Result<VerifiedPeer<V::Claims>, HandshakeError> {
    let certificate = certificate::parse(der).map_err(ProtocolError::from)?;
    let evidence = certificate.evidence.ok_or(ProtocolError::NoEvidence)?;
    let binding = Binding::atls(certificate.spki, nonce);
    verify(verifier, Protocol::Atls, evidence, binding, limit).await
}

/// How long the steps of a handshake may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Server: from accept to the whole ClientHello.
    pub hello: Duration,
    /// Server: waiting for a turn to make evidence, see [`limits`](super::limits).
    pub turn: Duration,
    /// Making evidence.
    pub attesting: Duration,
    /// What goes over the wire besides, and on a client the other side's work.
    pub handshake: Duration,
    /// Verifying evidence, which may take collateral from far away.
    pub verifying: Duration,
}

impl Timeouts {
    /// For a server, whose clients have little to do.
    pub const SERVER: Self = Self {
        hello: Duration::from_secs(5),
        turn: Duration::from_secs(15),
        attesting: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        verifying: Duration::from_secs(30),
    };

    /// For a client, whose server waits for turns, makes evidence and verifies in the meantime.
    pub const CLIENT: Self = Self {
        handshake: Duration::from_secs(60),
        ..Self::SERVER
    };
}
