//! No connection ever stands on an earlier one, on either side, whatever the other side would do.

use std::sync::Arc;

use attestation::tls::{Dial, Nobody};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslSession, SslSessionCacheMode, SslVerifyMode};
use rustls::pki_types::UnixTime;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::node::{Authority, CLIENT, NAME, client, server, settings};
use crate::parties::TestAttester;

type Server = attestation::tls::Acceptor<TestAttester, Nobody>;

/// One exchange with a client of OpenSSL that keeps sessions.
#[expect(
    unsafe_code,
    reason = "the openssl crate has no other way to offer a session"
)]
async fn openssl_exchange(
    server: &Server,
    context: &SslContext,
    server_name: &str,
    session: Option<&SslSession>,
) -> (bool, Option<SslSession>) {
    let (near, far) = duplex(1 << 20);
    let serve = async {
        let mut accepted = server.accept(near, CLIENT, UnixTime::now()).await.unwrap();
        accepted.stream.write_all(b"x").await.unwrap();
        accepted.stream.flush().await.unwrap();
        accepted
    };
    let dial = async {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_hostname(server_name).unwrap();
        if let Some(session) = session {
            // SAFETY: the session is of a connection with the same context.
            unsafe { ssl.set_session(session).unwrap() };
        }
        let mut stream = tokio_openssl::SslStream::new(ssl, far).unwrap();
        std::pin::Pin::new(&mut stream).connect().await.unwrap();
        // Tickets of TLS 1.3 come before the first application data.
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        let ssl = stream.ssl();
        (
            ssl.session_reused(),
            ssl.session().map(|session| session.to_owned()),
        )
    };
    let (_accepted, outcome) = tokio::join!(serve, dial);
    outcome
}

#[tokio::test]
async fn a_server_resumes_no_session_of_openssl() {
    let attester = TestAttester::new(1);
    let server = server(Some(attester.clone()), None::<Nobody>);
    let nonce = "kO0pRDkbQ2BLvhVxh2oEBVZJ4WbiA9OwIt5pHZkE0bE=";
    let mut handshakes = 0;
    for server_name in [nonce, NAME] {
        for version in [
            openssl::ssl::SslVersion::TLS1_2,
            openssl::ssl::SslVersion::TLS1_3,
        ] {
            let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
            context.set_verify(SslVerifyMode::NONE);
            context.set_session_cache_mode(SslSessionCacheMode::CLIENT);
            context.set_max_proto_version(Some(version)).unwrap();
            let context = context.build();
            let mut session = None;
            for _ in 0..3 {
                let (is_reused, next) =
                    openssl_exchange(&server, &context, server_name, session.as_ref()).await;
                assert!(!is_reused, "{server_name} {version:?}");
                session = next;
                handshakes += usize::from(server_name == nonce);
            }
        }
    }
    assert_eq!(attester.made().0, handshakes, "new evidence each time");
}

#[tokio::test]
async fn a_server_resumes_no_session_of_rustls() {
    let attester = TestAttester::new(1);
    let authority = Authority::new();
    let settings = settings(authority.identity(NAME), Some(attester), None::<Nobody>);
    let server = attestation::tls::Acceptor::new(settings).unwrap();
    for (version, alpn) in [
        (&rustls::version::TLS12, &b"http/1.1"[..]),
        (&rustls::version::TLS13, b"http/1.1"),
        (&rustls::version::TLS13, b"flashbots-ratls/1+h2"),
    ] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        for _ in 0..3 {
            let (near, far) = duplex(1 << 20);
            let now = UnixTime::now();
            let dial = async {
                let name = NAME.try_into().unwrap();
                let mut stream = connector.connect(name, far).await.unwrap();
                if alpn.starts_with(b"flashbots") {
                    let length = stream.read_u32().await.unwrap();
                    let mut message = vec![0; length as usize];
                    stream.read_exact(&mut message).await.unwrap();
                    stream.write_all(b"\0\0\0\x06\x10none\0").await.unwrap();
                    stream.flush().await.unwrap();
                }
                stream
            };
            let (accepted, mut stream) = tokio::join!(server.accept(near, CLIENT, now), dial);
            let mut accepted = accepted.unwrap();
            accepted.stream.write_all(b"x").await.unwrap();
            accepted.stream.flush().await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(session.tls13_tickets_received(), 0);
        }
    }
}

#[tokio::test]
async fn a_client_resumes_no_session_that_a_server_offers() {
    let authority = Authority::new();
    let identity = authority.identity(NAME);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    config.alpn_protocols = vec![b"flashbots-ratls/1".to_vec(), b"h2".to_vec()];
    assert!(config.send_tls13_tickets > 0);
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let ratls = client(
        Dial::<Nobody>::RatlsNamed(authority.names(NAME)),
        None::<Nobody>,
    );
    let atls = client(
        Dial::<Nobody>::AtlsNamed(authority.names(NAME)),
        None::<Nobody>,
    );
    for (connector, is_ratls) in [(ratls, true), (atls, false)] {
        for _ in 0..3 {
            let (near, far) = duplex(1 << 20);
            let serve = async {
                let mut stream = acceptor.accept(near).await.unwrap();
                if is_ratls {
                    stream.write_all(b"\0\0\0\x06\x10none\0").await.unwrap();
                    stream.flush().await.unwrap();
                    stream.read_exact(&mut [0; 10]).await.unwrap();
                }
                stream.write_all(b"x").await.unwrap();
                stream.flush().await.unwrap();
                stream
            };
            let dial = async {
                let mut connected = connector.connect(far, UnixTime::now()).await.unwrap();
                connected.stream.read_exact(&mut [0]).await.unwrap();
                connected
            };
            let (stream, _connected) = tokio::join!(serve, dial);
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full));
        }
    }
}
