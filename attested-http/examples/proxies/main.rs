//! Measures the proxies, for `make bench`; prints JSON.
//!
//! This process is both ends: clients that speak HTTP/1.1, and the plain server that answers in the
//! end. Between them is nothing, or a process that runs both proxies: ours (`proxies serve` with a
//! protocol, a version of HTTP and the server's URL), or Go's ones, from `attestation/interop`. All take
//! turns on the same processors, connections are kept, and processor time is that of the proxies'
//! process. Evidence is made with test keys, and nothing is measured before connections have been made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that does not work stops"
)]

mod client;
#[path = "../../../attestation/examples/bench/peer.rs"]
mod peer;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use attestation::tls::Nobody;
use attested_http::server::{Peer as From, Unencrypted};
use attested_http::{Body, BoxError};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use client::{latency, rate, transfer};
use peer::{Failure, Peer, add_ratio, build_go};
use support::{H1, H2, Machine, Running, Spoken};

/// Rounds, of which the best counts: other work on the machine is in the way of all alike.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(1500);

/// Clients at the same time.
const CLIENTS: usize = 32;

/// Bytes of a request and of its answer, where requests are counted.
const SMALL: (usize, usize) = (1000, 100);

/// Bytes of a body, where bytes are counted.
const LARGE: usize = 256 << 20;

static CHUNK: [u8; 64 << 10] = [b'x'; 64 << 10];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", protocol, http, url] => {
            let spoken = match protocol {
                "atls" => Spoken::Atls,
                _ => Spoken::Ratls,
            };
            serve(spoken, if http == "h2" { H2 } else { H1 }, url).await
        }
        [] => {
            println!("{:#}", measure().await?);
            Ok(())
        }
        _ => Err("usage: proxies [serve atls|ratls h1|h2 URL]".into()),
    }
}

/// Both proxies, for ever.
async fn serve(spoken: Spoken, http: &[attestation::tls::Http], url: &str) -> Result<(), Failure> {
    let node = Machine::dcap();
    let accepts = support::acceptor(Some(&node), None, http);
    let service = support::plain_service(url);
    let server = Running::start(accepts, service, support::loose()).await;
    let connects = support::connector(spoken, None, node.appraiser(), http);
    let service = support::client_service(server.address, connects);
    let client = Running::start::<Nobody, _, _>(Unencrypted, service, support::loose()).await;
    println!("listening {}", client.address);
    std::io::stdout().flush()?;
    std::future::pending().await
}

/// What was found of one way, the best of all rounds.
#[derive(Clone, Copy)]
struct Best {
    per_second: f64,
    alone: (f64, f64),
    crowded: (f64, f64),
    down: f64,
    up: f64,
    cpu_per_request: f64,
    cpu_per_byte: f64,
}

/// Which of it makes a row of a table.
type Row = fn(&Best) -> Value;

async fn measure() -> Result<Value, Failure> {
    let origin = Running::start::<Nobody, _, _>(Unencrypted, answer, support::loose()).await;
    let go = build_go("proxy", &["proxy.go", "atls.go", "evidence.go"])?;
    let own = std::env::current_exe()?;
    let url = origin.url();
    let ours = |protocol, http| Peer::start(&own, &["serve", protocol, http, &url]).map(Some);
    let theirs = |http: &str| Peer::start(&go, &["-to", &url, http]).map(Some);
    let ways = [
        ("no proxy", None),
        ("aTLS, HTTP/1.1", ours("atls", "h1")?),
        ("aTLS, HTTP/1.1, Go", theirs("-h2=false")?),
        ("aTLS, HTTP/2", ours("atls", "h2")?),
        ("aTLS, HTTP/2, Go", theirs("-h2=true")?),
        ("flashbots-ratls/1, HTTP/2", ours("ratls", "h2")?),
    ];
    let mut best: Vec<Option<Best>> = ways.iter().map(|_| None).collect();
    let direct = origin.address.to_string();
    for _ in 0..ROUNDS {
        for ((_, proxies), best) in ways.iter().zip(&mut best) {
            let address = proxies.as_ref().map_or(&direct, |proxies| &proxies.address);
            let new = round(address, proxies.as_ref()).await?;
            *best = Some(best.take().map_or(new, |old| old.or(new)));
        }
    }
    let all = format!("{CLIENTS} clients");
    let parts: [(&str, Row); 3] = [
        ("one client", Best::one_client),
        (&all, Best::all_clients),
        ("one stream", Best::one_stream),
    ];
    let mut results = Map::new();
    for (part, row) in parts {
        let mut rows = Map::new();
        for ((name, _), best) in ways.iter().zip(best.iter().flatten()) {
            rows.insert((*name).to_owned(), row(best));
        }
        for (name, proxies) in &ways {
            if proxies.is_some() {
                add_ratio(&mut rows, name, "no proxy", "no proxy");
            }
        }
        for http in ["aTLS, HTTP/1.1", "aTLS, HTTP/2"] {
            add_ratio(&mut rows, http, &format!("{http}, Go"), "Go");
        }
        results.insert(part.to_owned(), rows.into());
    }
    Ok(Value::Object(results))
}

/// All that is measured, once.
async fn round(address: &str, proxies: Option<&Peer>) -> Result<Best, Failure> {
    let cpu = || proxies.map_or(Ok(0.0), Peer::cpu);
    rate(address, CLIENTS, Duration::from_millis(200), SMALL).await?;
    let alone = latency(address, ROUND / 2, SMALL).await?;
    let before = cpu()?;
    let crowded = rate(address, CLIENTS, ROUND, SMALL).await?;
    let cpu_per_request = (cpu()? - before) / crowded.count;
    let before = cpu()?;
    let down = transfer(address, (0, LARGE)).await?;
    let up = transfer(address, (LARGE, 0)).await?;
    let cpu_per_byte = (cpu()? - before) / (2.0 * LARGE as f64);
    Ok(Best {
        per_second: crowded.per_second(),
        alone: alone.quantiles(),
        crowded: crowded.quantiles(),
        down,
        up,
        cpu_per_request,
        cpu_per_byte,
    })
}

impl Best {
    fn or(self, other: Self) -> Self {
        let least = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.min(b.1));
        Self {
            per_second: self.per_second.max(other.per_second),
            alone: least(self.alone, other.alone),
            crowded: least(self.crowded, other.crowded),
            down: self.down.max(other.down),
            up: self.up.max(other.up),
            cpu_per_request: self.cpu_per_request.min(other.cpu_per_request),
            cpu_per_byte: self.cpu_per_byte.min(other.cpu_per_byte),
        }
    }

    fn one_client(&self) -> Value {
        let (half, most) = self.alone;
        json!({"p50 µs": half * 1e6, "p99 µs": most * 1e6})
    }

    fn all_clients(&self) -> Value {
        let (half, most) = self.crowded;
        let row =
            json!({"requests/s": self.per_second, "p50 µs": half * 1e6, "p99 µs": most * 1e6});
        with_cpu(row, "cpu µs/request", self.cpu_per_request * 1e6)
    }

    fn one_stream(&self) -> Value {
        let row = json!({"MB/s down": self.down / 1e6, "MB/s up": self.up / 1e6});
        with_cpu(row, "cpu µs/MB", self.cpu_per_byte * 1e12)
    }
}

/// Adds processor time, if there are proxies to take any.
fn with_cpu(mut row: Value, key: &str, taken: f64) -> Value {
    if taken > 0.0 {
        row[key] = taken.into();
    }
    row
}

/// The plain server: reads the request to its end, then answers with as many bytes as the path says.
async fn answer(request: Request<Body>, _: From<Nobody>) -> Response<Body> {
    let left = request.uri().path().trim_start_matches('/').parse();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return attested_http::body::text(StatusCode::BAD_REQUEST, "broken off");
        }
    }
    let left = left.unwrap_or_default();
    Response::new(Filler { left }.boxed_unsync())
}

/// A body of so many bytes.
struct Filler {
    left: usize,
}

impl hyper::body::Body for Filler {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let size = self.left.min(CHUNK.len());
        self.left -= size;
        let chunk = Bytes::from_static(&CHUNK[..size]);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
