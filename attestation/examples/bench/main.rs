//! Measures handshakes and verification, for `make bench`; prints JSON.
//!
//! `bench` runs each server as a process of its own, this program or the Go program in `interop/`,
//! and dials it with the same client, one connection after the other; processor time is that of
//! the server's process. Evidence is canned: a signature by a test key, padded, as that program
//! makes it. So what is compared is everything but the TPM. `bench serve BYTES` is such a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark that does not work stops, and runs programs"
)]

mod peer;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use attestation::attester::{Attester, Attesting};
use attestation::evidence::DcapTdx;
use attestation::tls::limits::{Bounds, Rate};
use attestation::tls::{
    Acceptor, BoxError, Connector, Dial, Http, Identity, Nobody, PeerVerifier, Protocol,
    ServerSettings, Shown, Timeouts,
};
use attestation::{Binding, Collateral, Evidence, EvidenceKind, TrustRoots, Verifier};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::KeyPair;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value, json};
use testkit::tee::Tee;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use peer::{Failure, Peer, add_ratio, build_go};

const CONTEXT: &[u8] = b"evidence of a test";
const SEED: u8 = 2;
const SIGNED: usize = 128;
const NAME: &str = "localhost";

/// Rounds, of which the best counts: other work on the machine is in the way of all alike.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(1500);

/// Documents as they are named, and the bytes of a quote that makes them, in base64 or not.
const DOCUMENTS: [(&str, usize, usize); 2] = [("1 kB", 700, 1000), ("14 kB", 10_400, 14_000)];

/// Evidence of a test key.
struct Canned {
    key: Ed25519KeyPair,
    size: usize,
}

impl Canned {
    fn new(size: usize) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[SEED; 32]).unwrap();
        Self { key, size }
    }
}

impl Attester for Canned {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move {
            let data = binding.report_data();
            let signature = self.key.sign(&[CONTEXT, &data].concat());
            let mut td_quote = [&data, signature.as_ref()].concat();
            td_quote.resize(self.size.max(SIGNED), 0);
            let user_data = binding.user_data().map(|data| data.to_vec());
            Ok(Evidence::DcapTdx(DcapTdx {
                td_quote,
                user_data,
            }))
        })
    }
}

/// Verifies such evidence.
struct Known(Vec<u8>);

impl PeerVerifier for Known {
    type Claims = ();

    async fn verify(&self, shown: Shown<'_>) -> Result<(), BoxError> {
        let quote = match shown.protocol {
            Protocol::Ratls => shown.document.to_vec(),
            _ => {
                let json: Value = serde_json::from_slice(shown.document)?;
                BASE64_STANDARD.decode(json["RawQuote"].as_str().ok_or("no quote")?)?
            }
        };
        let (data, signature) = quote
            .get(..SIGNED)
            .and_then(|signed| signed.split_at_checked(64))
            .ok_or("too short")?;
        if data != shown.binding.report_data() {
            return Err("for another connection".into());
        }
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&[CONTEXT, data].concat(), signature)
            .map_err(|_| "not signed by the test key".into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", size] => serve(size.parse()?).await,
        [] => {
            let results = json!({
                "handshakes": handshakes().await?,
                "verification": verification()?,
            });
            println!("{results:#}");
            Ok(())
        }
        _ => Err("usage: bench [serve BYTES]".into()),
    }
}

/// Serves all three ways on one port, for ever.
async fn serve(size: usize) -> Result<(), Failure> {
    let key = KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    let rate = Rate::new(NonZeroU32::new(1_000_000).unwrap(), 1_000_000);
    let acceptor = Acceptor::new(ServerSettings {
        identity: Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der())?,
        },
        attester: Some(Canned::new(size)),
        verifier: None::<Nobody>,
        http: vec![Http::Http1],
        bounds: Bounds {
            evidence: rate,
            evidence_per_peer: rate,
            ..Bounds::default()
        },
        timeouts: Timeouts::SERVER,
    })?;
    let acceptor = Arc::new(acceptor);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let text = BASE64_STANDARD.encode(certificate.der());
    println!("listening {} {text}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = Arc::clone(&acceptor);
        tokio::spawn(async move {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let accepted = acceptor.accept(stream, address, UnixTime::now()).await;
            let mut stream = accepted.expect("handshake").stream;
            let mut line = [0; 5];
            stream.read_exact(&mut line).await.expect("read");
            stream.write_all(b"pong\n").await.expect("write");
            stream.flush().await.expect("flush");
            let _ = stream.read(&mut line).await;
        });
    }
}

/// How a client dials.
enum Way {
    Attested(Connector<Nobody, Known>),
    Plain(Arc<ClientConfig>),
}

impl Way {
    fn attested(dial: fn(Known) -> Dial<Known>) -> Result<Self, Failure> {
        let key = Canned::new(0).key.public_key().as_ref().to_vec();
        let http = vec![Http::Http1];
        let connector = Connector::new(dial(Known(key)), None, http, Timeouts::CLIENT)?;
        Ok(Self::Attested(connector))
    }

    fn plain(server: &Peer) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(BASE64_STANDARD.decode(&server.said)?.into())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self::Plain(Arc::new(config)))
    }

    async fn once(&self, server: &Peer) -> Result<(), Failure> {
        let stream = TcpStream::connect(&server.address).await?;
        stream.set_nodelay(true)?;
        match self {
            Self::Attested(connector) => {
                ping(connector.connect(stream, UnixTime::now()).await?.stream).await
            }
            Self::Plain(config) => {
                let name = ServerName::try_from(NAME)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                ping(connector.connect(name, stream).await?).await
            }
        }
    }
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    stream.write_all(b"ping\n").await?;
    stream.flush().await?;
    let mut line = [0; 5];
    stream.read_exact(&mut line).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn handshakes() -> Result<Value, Failure> {
    let go = build_go("interop", &["."])?;
    let own = std::env::current_exe()?;
    let seed = SEED.to_string();
    let mut runs = Vec::new();
    for (document, encoded, raw) in DOCUMENTS {
        let serve = |size: usize| Peer::start(&own, &["serve", &size.to_string()]);
        let size = encoded.to_string();
        let flags = ["-seed", &seed, "-size", &size, "-count", "100000000"];
        let of_go = Peer::start(&go, &[&["server"], &flags[..]].concat())?;
        let (atls, same) = (Way::attested(Dial::Atls)?, Way::attested(Dial::Atls)?);
        let ratls = Way::attested(Dial::Ratls)?;
        runs.push((format!("aTLS, {document}"), serve(encoded)?, atls));
        runs.push((format!("aTLS, {document}, Go"), of_go, same));
        runs.push((format!("flashbots-ratls/1, {document}"), serve(raw)?, ratls));
    }
    let server = Peer::start(&own, &["serve", "1000"])?;
    let way = Way::plain(&server)?;
    runs.push(("plain TLS".to_owned(), server, way));

    let mut best = vec![(0.0_f64, f64::INFINITY); runs.len()];
    for _ in 0..ROUNDS {
        for ((_, server, way), best) in runs.iter().zip(&mut best) {
            let (rate, cpu) = round(server, way).await?;
            *best = (best.0.max(rate), best.1.min(cpu));
        }
    }
    let mut results = Map::new();
    for ((name, _, _), (rate, cpu)) in runs.iter().zip(&best) {
        results.insert(
            name.clone(),
            json!({"per second": rate, "cpu ms": cpu * 1e3}),
        );
    }
    for (document, _, _) in DOCUMENTS {
        let (ours, go) = (format!("aTLS, {document}"), format!("aTLS, {document}, Go"));
        add_ratio(&mut results, &ours, &go, "Go");
    }
    Ok(Value::Object(results))
}

/// Handshakes per second, and the server's processor seconds for each.
async fn round(server: &Peer, way: &Way) -> Result<(f64, f64), Failure> {
    for _ in 0..10 {
        way.once(server).await?;
    }
    let (started, before, mut count) = (Instant::now(), server.cpu()?, 0.0);
    while started.elapsed() < ROUND {
        way.once(server).await?;
        count += 1.0;
    }
    let elapsed = started.elapsed().as_secs_f64();
    Ok((count / elapsed, (server.cpu()? - before) / count))
}

/// Verifications per second of one thread, parsing included, for each kind of evidence. There is
/// no peer: what else verifies these is not among the tools of this project.
fn verification() -> Result<Value, Failure> {
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let tee = Tee::new(1, now);
    let root = tee.ak_certificates(&tee.ak()).root;
    let roots = TrustRoots::danger_trust_instead(tee.root().to_vec(), vec![root]);
    let verifier = Verifier::new(roots);
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes())?;
    let binding = Binding::atls_user_data([7; 32], b"nonce");
    let mut results = Map::new();
    for kind in [EvidenceKind::AzureTdx, EvidenceKind::DcapTdx] {
        let document = tee.document(kind, &binding);
        let mut best = 0.0_f64;
        for _ in 0..ROUNDS {
            let (started, mut count) = (Instant::now(), 0.0);
            while started.elapsed() < ROUND {
                let evidence = Evidence::parse_atls(kind, &document)?;
                verifier.verify(&evidence, &collateral, &binding, seconds)?;
                count += 1.0;
            }
            best = best.max(count / started.elapsed().as_secs_f64());
        }
        let value = json!({"per second": best, "ms": 1e3 / best});
        results.insert(kind.to_string(), value);
    }
    Ok(Value::Object(results))
}
