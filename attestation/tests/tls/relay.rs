//! A man in the middle with a key of his own, who has a genuine node attest for him.

use std::sync::Arc;
use std::sync::Mutex;

use attestation::attester::{Attester, Attesting};
use attestation::binding::Binding;
use attestation::evidence::{DcapTdx, Evidence, EvidenceKind};
use attestation::tls::client_hello::{self, Parsed};
use attestation::tls::{
    Acceptor, BoxError, Connector, Dial, HandshakeError, Nobody, PeerVerifier, Shown,
};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};

use crate::node::{CLIENT, client, server};
use crate::parties::{TestAttester, TestVerifier, chain};

/// Shows what a genuine node has shown.
struct Relaying(Arc<Mutex<Option<Evidence>>>);

impl Attester for Relaying {
    fn attest<'a>(&'a self, _: &'a Binding) -> Attesting<'a> {
        let shown = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(shown.unwrap()) })
    }
}

/// Believes everything and keeps it.
#[derive(Clone)]
struct Recording(Arc<Mutex<Option<Evidence>>>);

impl PeerVerifier for Recording {
    type Claims = ();

    async fn verify(&self, shown: Shown<'_>) -> Result<(), BoxError> {
        *self.0.lock().unwrap() = Some(shown.evidence()?);
        Ok(())
    }
}

fn expect_refused(result: Result<(), HandshakeError>, reason: &str) {
    let error = result.unwrap_err();
    let expected = format!("the peer's dcap-tdx evidence was refused: {reason}");
    assert_eq!(chain(&error), expected);
}

#[tokio::test]
async fn is_refused_under_ratls() {
    let genuine = TestAttester::new(1);
    let node = server(Some(genuine.clone()), None::<Nobody>);
    let recorded = Arc::default();

    // The man in the middle dials the node as anybody may ...
    let spy = client(
        Dial::Ratls(Recording(Arc::clone(&recorded))),
        None::<Nobody>,
    );
    let (accepted, connected) = crate::node::meet(&node, &spy).await;
    assert!(accepted.is_ok() && connected.is_ok());
    // ... and shows its evidence to his victim.
    let middle = server(Some(Relaying(recorded)), None::<Nobody>);
    let victim = client(Dial::Ratls(TestVerifier::of(&genuine)), None::<Nobody>);
    let (_, connected) = crate::node::meet(&middle, &victim).await;
    let reason = "the evidence was made for other report data";
    expect_refused(connected.map(drop), reason);
}

#[tokio::test]
async fn is_refused_under_atls_even_with_the_victims_nonce() {
    let genuine = TestAttester::new(1);
    let node = Arc::new(server(Some(genuine.clone()), None::<Nobody>));
    let recorded: Arc<Mutex<Option<Evidence>>> = Arc::default();
    let middle = server(Some(Relaying(Arc::clone(&recorded))), None::<Nobody>);
    let victim = client(Dial::Atls(TestVerifier::of(&genuine)), None::<Nobody>);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let victim = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        victim.connect(stream, UnixTime::now()).await.map(drop)
    });
    let (stream, _) = listener.accept().await.unwrap();
    let nonce = server_name(&stream).await;
    *recorded.lock().unwrap() = Some(evidence_for(&node, &nonce).await);
    let _ = middle.accept(stream, CLIENT, UnixTime::now()).await;
    let reason = "the evidence was made for other report data";
    expect_refused(victim.await.unwrap(), reason);
}

/// What a client has in its ClientHello, which stays in the socket.
async fn server_name(stream: &TcpStream) -> String {
    let mut bytes = vec![0; 8192];
    loop {
        let length = stream.peek(&mut bytes).await.unwrap();
        match client_hello::parse(&bytes[..length]) {
            Parsed::Hello(hello) => return String::from_utf8(hello.server_name.unwrap()).unwrap(),
            Parsed::NeedMore => tokio::task::yield_now().await,
            Parsed::Error(error) => panic!("{error}"),
        }
    }
}

/// Has the node attest for a nonce that somebody else chose.
async fn evidence_for(node: &Acceptor<TestAttester, Nobody>, nonce: &str) -> Evidence {
    let (near, far) = duplex(1 << 20);
    let dial = async {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.set_verify(SslVerifyMode::NONE);
        let mut ssl = Ssl::new(&context.build()).unwrap();
        ssl.set_hostname(nonce).unwrap();
        let mut stream = tokio_openssl::SslStream::new(ssl, far).unwrap();
        std::pin::Pin::new(&mut stream).connect().await.unwrap();
        stream.ssl().peer_certificate().unwrap().to_der().unwrap()
    };
    let (accepted, der) = tokio::join!(node.accept(near, CLIENT, UnixTime::now()), dial);
    accepted.unwrap();
    let start = der
        .windows(11)
        .position(|part| part == b"{\"RawQuote\"")
        .unwrap();
    let json = serde_json::Deserializer::from_slice(&der[start..])
        .into_iter::<serde_json::Value>()
        .next()
        .unwrap()
        .unwrap();
    let parsed = Evidence::parse_atls(EvidenceKind::DcapTdx, json.to_string().as_bytes());
    let Ok(Evidence::DcapTdx(DcapTdx {
        td_quote,
        user_data,
    })) = parsed
    else {
        panic!("{parsed:?}");
    };
    Evidence::DcapTdx(DcapTdx {
        td_quote,
        user_data,
    })
}

/// The same, with the victim's connection forwarded byte by byte: then the man in the middle has
/// no key of the session, and the connection is the node's.
#[tokio::test]
async fn who_only_forwards_reads_nothing() {
    let genuine = TestAttester::new(1);
    let node = server(Some(genuine.clone()), None::<Nobody>);
    let verifier = TestVerifier::of(&genuine);
    let victim: Connector<Nobody, _> = client(Dial::Atls(verifier), None);
    let (victim_end, mut middle_front) = duplex(1 << 16);
    let (mut middle_back, node_end) = duplex(1 << 16);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&heard);
    tokio::spawn(async move {
        let (mut a, mut b) = (vec![0; 4096], vec![0; 4096]);
        loop {
            tokio::select! {
                length = middle_front.read(&mut a) => {
                    let bytes = &a[..length.unwrap()];
                    record.lock().unwrap().extend_from_slice(bytes);
                    middle_back.write_all(bytes).await.unwrap();
                }
                length = middle_back.read(&mut b) => {
                    middle_front.write_all(&b[..length.unwrap()]).await.unwrap();
                }
            }
        }
    });
    let now = UnixTime::now();
    let (accepted, connected) = tokio::join!(
        node.accept(node_end, CLIENT, now),
        victim.connect(victim_end, now)
    );
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    connected.stream.write_all(b"orderflow").await.unwrap();
    connected.stream.flush().await.unwrap();
    let mut received = [0; 9];
    accepted.stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"orderflow");
    let heard = heard.lock().unwrap();
    assert!(!heard.windows(9).any(|part| part == b"orderflow"));
}
