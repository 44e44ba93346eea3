//! Peers that say nothing, too little, too slowly, or something else.

use std::time::Duration;

use attestation::tls::limits::Bounds;
use attestation::tls::{Acceptor, Dial, Fault, HandshakeError, Nobody, Step};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use crate::node::{Authority, CLIENT, NAME, client, server, settings, wide};
use crate::parties::{TestAttester, TestVerifier, chain};

type Server = Acceptor<TestAttester, Nobody>;

async fn accept(server: &Server, stream: DuplexStream) -> Result<(), HandshakeError> {
    server
        .accept(stream, CLIENT, UnixTime::now())
        .await
        .map(drop)
}

fn timed_out(result: Result<(), HandshakeError>, expected: Step) {
    match result {
        Err(HandshakeError::TimedOut { step, .. }) if step == expected => {}
        other => panic!("expected a timeout of {expected:?}, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_left() {
    let server = server(Some(TestAttester::new(1)), None::<Nobody>);
    let (near, _far) = duplex(1 << 16);
    let start = Instant::now();
    timed_out(accept(&server, near).await, Step::Hello);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_says_one_byte_at_a_time_is_left() {
    let attester = TestAttester::new(1);
    let server = server(Some(attester.clone()), None::<Nobody>);
    let (near, mut far) = duplex(1 << 16);
    let drip = async move {
        let mut hello = vec![22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc];
        hello.resize(4096, 7);
        for byte in hello {
            if far.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let (result, ()) = tokio::join!(accept(&server, near), drip);
    timed_out(result, Step::Hello);
    assert_eq!(attester.made().0, 0);
}

/// The first bytes that a client sends.
async fn hello<V: attestation::tls::PeerVerifier>(dial: Dial<V>) -> Vec<u8> {
    let (near, mut far) = duplex(1 << 16);
    let connector = client(dial, None::<Nobody>);
    let connect = connector.connect(near, UnixTime::now());
    let read = async {
        let mut bytes = vec![0; 1 << 14];
        let length = far.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        bytes
    };
    tokio::select! {
        _ = connect => panic!("nobody answered"),
        bytes = read => bytes,
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_after_the_client_hello_is_left() {
    let server = server(Some(TestAttester::new(1)), None::<Nobody>);
    let verifier = || TestVerifier::of(&TestAttester::new(1));
    for dial in [Dial::Atls(verifier()), Dial::Ratls(verifier())] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(&hello(dial).await).await.unwrap();
        let start = Instant::now();
        timed_out(accept(&server, near).await, Step::Handshake);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_ends_the_handshake_at_once() {
    let server = server(Some(TestAttester::new(1)), None::<Nobody>);
    let verifier = || TestVerifier::of(&TestAttester::new(1));
    let hello = hello(Dial::Atls(verifier())).await;
    for length in [0, 1, 5, 100, hello.len()] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(&hello[..length]).await.unwrap();
        drop(far);
        let start = Instant::now();
        let error = accept(&server, near).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Tls(_)), "{}", chain(&error));
        assert_eq!(error.fault(), Fault::Peer);
        assert!(start.elapsed() < Duration::from_millis(10));
    }
}

#[tokio::test]
async fn who_speaks_something_else_hears_nothing() {
    let server = server(Some(TestAttester::new(1)), None::<Nobody>);
    for (bytes, expected) in [
        (
            &b"GET /cert HTTP/1.1\r\n\r\n"[..],
            "expected a TLS handshake record (type 22, version 3.x), got type 71, version 69.x",
        ),
        (
            b"\x16\x03\x01\0\0",
            "record of 0 bytes, expected 1 to 16384",
        ),
        (
            b"\x16\x03\x01\0\x04\x02\0\0\0",
            "expected handshake message 1 (client_hello), got 2",
        ),
    ] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(bytes).await.unwrap();
        let error = accept(&server, near).await.unwrap_err();
        assert_eq!(
            chain(&error),
            format!("the peer is no TLS client: {expected}")
        );
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_ratls_client_that_keeps_its_message_is_left() {
    let authority = Authority::new();
    let attester = TestAttester::new(1);
    let settings = settings(authority.identity(NAME), Some(attester), None::<Nobody>);
    let server = Acceptor::new(settings).unwrap();
    for (message, is_error) in [
        (&b""[..], false),
        (b"\0\0\0\x06\x10non", false),
        (b"\xff\xff\xff\xff", true),
        (b"\0\0\0\x01\x10", true),
    ] {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"flashbots-ratls/1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let (near, far) = duplex(1 << 16);
        let dial = async {
            let name = NAME.try_into().unwrap();
            let mut stream = connector.connect(name, far).await.unwrap();
            stream.write_all(message).await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let (result, _open) = tokio::join!(accept(&server, near), dial);
        match is_error {
            false => timed_out(result, Step::Handshake),
            true => {
                let error = result.unwrap_err();
                assert_eq!(error.fault(), Fault::Peer, "{}", chain(&error));
                assert!(matches!(error, HandshakeError::Protocol(_)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_attester_is_given_up_and_its_turn_is_free() {
    let mut attester = TestAttester::new(1);
    attester.takes = Duration::from_secs(3600);
    let mut settings = settings(
        Authority::new().identity(NAME),
        Some(attester.clone()),
        None::<Nobody>,
    );
    settings.bounds = Bounds {
        evidence_at_once: 1,
        ..wide()
    };
    let server = Acceptor::new(settings).unwrap();
    for _ in 0..2 {
        let client = client(Dial::Atls(TestVerifier::of(&attester)), None::<Nobody>);
        let (accepted, _) = crate::node::meet(&server, &client).await;
        let error = accepted.unwrap_err();
        assert_eq!(error.fault(), Fault::Local);
        assert_eq!(error.to_string(), "making evidence took longer than 10s");
    }
}
