//! A server and a client for tests, connected by a pipe in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use attestation::attester::Attester;
use attestation::tls::limits::{Bounds, Rate};
use attestation::tls::{
    Accepted, Acceptor, Connected, Connector, Dial, HandshakeError, Http, Identity, NameCheck,
    PeerVerifier, ServerSettings, Timeouts, TlsStream,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

pub(crate) const NAME: &str = "node.example";
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A certificate authority of its own, and what it has certified.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate with its issuer's name for self-signed.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    pub(crate) fn names(&self, name: &str) -> NameCheck {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        NameCheck::new(name, self.roots()).unwrap()
    }
}

/// A certificate that is its own authority, as a Go peer wants them.
pub(crate) fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

/// Limits that tests of other things do not reach.
pub(crate) fn wide() -> Bounds {
    let rate = Rate::new(NonZeroU32::new(1_000_000).unwrap(), 1_000_000);
    Bounds {
        handshakes: 100_000,
        handshakes_per_peer: 100_000,
        evidence_at_once: 100_000,
        evidence: rate,
        evidence_per_peer: rate,
        ..Bounds::default()
    }
}

pub(crate) fn settings<A, V>(
    identity: Identity,
    attester: Option<A>,
    verifier: Option<V>,
) -> ServerSettings<A, V> {
    ServerSettings {
        identity,
        attester,
        verifier,
        http: vec![Http::Http2, Http::Http1],
        bounds: wide(),
        timeouts: Timeouts::SERVER,
    }
}

pub(crate) fn server<A: Attester, V: PeerVerifier>(
    attester: Option<A>,
    verifier: Option<V>,
) -> Acceptor<A, V> {
    let identity = Authority::new().identity(NAME);
    Acceptor::new(settings(identity, attester, verifier)).unwrap()
}

pub(crate) fn client<A: Attester, V: PeerVerifier>(
    dial: Dial<V>,
    attester: Option<A>,
) -> Connector<A, V> {
    let http = vec![Http::Http2, Http::Http1];
    Connector::new(dial, attester, http, Timeouts::CLIENT).unwrap()
}

pub(crate) type Outcome<C, D> = (
    Result<Accepted<DuplexStream, C>, HandshakeError>,
    Result<Connected<DuplexStream, D>, HandshakeError>,
);

/// Both sides of one connection. A client that has finished sends a byte, so that a server that
/// refuses it late is heard.
pub(crate) async fn meet<A, V, B, W>(
    server: &Acceptor<A, V>,
    client: &Connector<B, W>,
) -> Outcome<V::Claims, W::Claims>
where
    A: Attester,
    V: PeerVerifier,
    B: Attester,
    W: PeerVerifier,
{
    let (near, far) = duplex(1 << 20);
    let now = UnixTime::now();
    tokio::join!(server.accept(near, CLIENT, now), client.connect(far, now))
}

/// What both sides of a connection that is there say to each other.
pub(crate) async fn talk<S, T>(one: &mut TlsStream<S>, other: &mut TlsStream<T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // More than one record, and more than the pipe holds.
    let message: Arc<[u8]> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let (to, from) = (Arc::clone(&message), Arc::clone(&message));
    let sending = async {
        one.write_all(&to).await.unwrap();
        one.flush().await.unwrap();
        let mut answer = [0; 6];
        one.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    };
    let receiving = async {
        let mut received = vec![0; from.len()];
        other.read_exact(&mut received).await.unwrap();
        assert!(*received == *from);
        other.write_all(b"answer").await.unwrap();
        other.flush().await.unwrap();
    };
    tokio::join!(sending, receiving);
}

/// The chain's first certificate.
pub(crate) fn own(identity: &Identity) -> CertificateDer<'static> {
    identity.chain[0].clone()
}
