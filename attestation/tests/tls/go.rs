//! Go's TLS on the other side: the program in `interop/`, built here with `go`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use attestation::tls::{Acceptor, Dial, HandshakeError, Nobody, Protocol};
use rustls::pki_types::UnixTime;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};

use crate::node::{CLIENT, NAME, client, self_signed, server, settings};
use crate::parties::{TestAttester, TestVerifier, chain};

/// Bytes of a quote, of which base64 makes documents of 20 and 100 kB.
const QUOTES: [usize; 2] = [15_000, 75_000];
const DOCUMENTS: [usize; 2] = [20_000, 100_000];

const RUST: u8 = 1;
const GO: u8 = 2;

/// What the program prints of a connection.
#[derive(Debug, Deserialize)]
struct Report {
    error: String,
    version: String,
    resumed: bool,
    peer: String,
    document: usize,
    received: String,
}

/// Builds the program, once. Without `go` the tests fail.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.join("interop");
        let mut build = Command::new("go");
        build
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop"))
            .env("GOCACHE", target.join("go-build"))
            .env("GOFLAGS", "")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0");
        let output = build.as_std_mut().output().expect("run go");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "go build: {errors}");
        program
    })
}

/// The program at work; ends with the test.
struct Go {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Go {
    fn run(arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            _child: child,
            lines,
        }
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().unwrap()
    }

    /// A server, and where it listens.
    async fn serve(arguments: &[&str]) -> (Self, String) {
        let mut go = Self::run(&[&["server"], arguments].concat());
        let line = go.line().await;
        let address = line.strip_prefix("listening ").unwrap().to_owned();
        (go, address)
    }

    async fn report(&mut self) -> Report {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap()
    }
}

fn machine(seed: u8, size: usize) -> TestAttester {
    let mut machine = TestAttester::new(seed);
    machine.size = size;
    machine
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Accepts one connection of the program and answers its line.
async fn accept<V: attestation::tls::PeerVerifier>(
    listener: &TcpListener,
    server: &Acceptor<TestAttester, V>,
) -> Result<Option<V::Claims>, HandshakeError> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut accepted = server.accept(stream, CLIENT, UnixTime::now()).await?;
    assert_eq!(accepted.protocol, Protocol::Atls);
    let mut line = [0; 5];
    accepted.stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"ping\n");
    accepted.stream.write_all(b"pong\n").await.unwrap();
    accepted.stream.flush().await.unwrap();
    // The peer closes first, having read everything.
    let _ = accepted.stream.read(&mut line).await;
    Ok(accepted.peer.map(|peer| peer.into_claims()))
}

#[tokio::test]
async fn a_go_client_of_a_server_that_attests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (size, document) in QUOTES.into_iter().zip(DOCUMENTS) {
        for version in ["1.2", "1.3"] {
            let attester = machine(RUST, size);
            let server = server(Some(attester.clone()), None::<Nobody>);
            let arguments = ["client", "-addr", &address, "-tls", version, "-trust", "1"];
            let mut go = Go::run(&[&arguments[..], &["-cache", "-count", "3"]].concat());
            for _ in 0..3 {
                assert!(accept(&listener, &server).await.unwrap().is_none());
                let report = go.report().await;
                assert_eq!((&*report.error, &*report.received), ("", "pong\n"));
                assert_eq!(report.version, format!("TLS {version}"));
                assert_eq!(report.peer, hex(&attester.public_key()));
                assert!(report.document >= document, "{report:?}");
                assert!(!report.resumed, "with a session cache");
            }
            assert_eq!(attester.made().0, 3, "new evidence each time");
        }
    }
}

#[tokio::test]
async fn a_go_client_that_attests_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = machine(GO, 0);
    for size in QUOTES {
        for version in ["1.2", "1.3"] {
            let attester = machine(RUST, size);
            let verifier = TestVerifier::of(&peer);
            let server = server(Some(attester.clone()), Some(verifier));
            let size = size.to_string();
            let arguments = ["client", "-addr", &address, "-tls", version, "-trust", "1"];
            let own = ["-seed", "2", "-size", &size];
            let mut go = Go::run(&[&arguments[..], &own].concat());
            let claims = accept(&listener, &server).await.unwrap();
            assert_eq!(claims, Some(peer.public_key()));
            let report = go.report().await;
            assert_eq!((&*report.error, &*report.received), ("", "pong\n"));
            assert_eq!(report.peer, hex(&attester.public_key()));
        }
    }
}

#[tokio::test]
async fn a_go_client_of_a_named_server_that_verifies_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for version in ["1.2", "1.3"] {
        let hub = settings(
            self_signed(NAME),
            None::<TestAttester>,
            Some(TestVerifier::of(&machine(GO, 0))),
        );
        let hub = Acceptor::new(hub).unwrap();
        let arguments = ["client", "-addr", &address, "-tls", version, "-name", NAME];
        let mut go = Go::run(&[&arguments[..], &["-seed", "2", "-size", "75000"]].concat());
        let claims = accept(&listener, &hub).await.unwrap();
        assert_eq!(claims, Some(machine(GO, 0).public_key()));
        assert_eq!(go.report().await.error, "");
    }
}

#[tokio::test]
async fn a_go_client_refuses_and_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let attester = machine(RUST, 0);

    // Evidence of a machine that it does not trust.
    let server = server(Some(attester.clone()), None::<Nobody>);
    let mut go = Go::run(&["client", "-addr", &address, "-trust", "9"]);
    assert!(accept(&listener, &server).await.is_err());
    let error = go.report().await.error;
    assert_eq!(error, "evidence is not signed by the test key");

    // No evidence of its own, or evidence of another machine.
    let verifier = TestVerifier::of(&machine(GO, 0));
    let server = crate::node::server(Some(attester), Some(verifier));
    for (seed, reason) in [
        (
            "-1",
            "the peer does not keep to the protocol: the peer shows no evidence",
        ),
        (
            "3",
            "the peer's dcap-tdx evidence was refused: the evidence is not signed by the test key",
        ),
    ] {
        let mut go = Go::run(&["client", "-addr", &address, "-trust", "1", "-seed", seed]);
        let error = accept(&listener, &server).await.unwrap_err();
        assert_eq!(chain(&error), reason);
        assert_ne!(go.report().await.error, "");
    }
}

/// Dials the program as an aTLS client.
async fn dial(
    address: &str,
    attester: Option<TestAttester>,
    trusted: u8,
) -> Result<(Vec<u8>, usize), HandshakeError> {
    let verifier = TestVerifier::of(&machine(trusted, 0));
    let connector = client(Dial::Atls(verifier), attester);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut connected = connector.connect(stream, UnixTime::now()).await?;
    connected.stream.write_all(b"ping\n").await.unwrap();
    connected.stream.flush().await.unwrap();
    let mut line = [0; 5];
    let read = connected.stream.read_exact(&mut line).await;
    read.map_err(HandshakeError::Tls)?;
    assert_eq!(&line, b"pong\n");
    let peer = connected.peer.unwrap();
    Ok((peer.claims().clone(), peer.document().len()))
}

#[tokio::test]
async fn a_go_server_that_attests() {
    for (size, document) in QUOTES.into_iter().zip(DOCUMENTS) {
        for version in ["1.2", "1.3"] {
            let size = size.to_string();
            let arguments = ["-tls", version, "-seed", "2", "-size", &size, "-count", "2"];
            let (mut go, address) = Go::serve(&arguments).await;
            for _ in 0..2 {
                let (claims, length) = dial(&address, None, GO).await.unwrap();
                assert_eq!(claims, machine(GO, 0).public_key());
                assert!(length >= document);
                let report = go.report().await;
                assert_eq!((&*report.error, report.resumed), ("", false));
                assert_eq!(report.version, format!("TLS {version}"));
            }
        }
    }
}

#[tokio::test]
async fn a_go_server_that_asks_for_evidence() {
    // A Go server of TLS 1.3 that issues tickets cannot take a certificate of more than 64 KiB.
    let cases = [
        ("1.2", 15_000, "true"),
        ("1.3", 15_000, "true"),
        ("1.2", 75_000, "false"),
        ("1.3", 75_000, "false"),
    ];
    for (version, size, tickets) in cases {
        let tickets = format!("-tickets={tickets}");
        let arguments = ["-tls", version, "-seed", "2", "-trust", "1", &tickets];
        let (mut go, address) = Go::serve(&arguments).await;
        let attester = machine(RUST, size);
        let (claims, _) = dial(&address, Some(attester.clone()), GO).await.unwrap();
        assert_eq!(claims, machine(GO, 0).public_key());
        let report = go.report().await;
        assert_eq!((&*report.error, &*report.received), ("", "ping\n"));
        assert_eq!(report.peer, hex(&attester.public_key()));
        assert!(report.document >= size);
    }
}

#[tokio::test]
async fn a_go_server_refuses_and_is_refused() {
    let (_go, address) = Go::serve(&["-seed", "3"]).await;
    let error = dial(&address, None, GO).await.unwrap_err();
    assert_eq!(
        chain(&error),
        "the peer's dcap-tdx evidence was refused: the evidence is not signed by the test key"
    );
    let (mut go, address) = Go::serve(&["-seed", "2", "-trust", "9"]).await;
    assert!(dial(&address, Some(machine(RUST, 0)), GO).await.is_err());
    let error = go.report().await.error;
    assert_eq!(error, "evidence is not signed by the test key");
}
