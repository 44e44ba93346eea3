//! Many nodes poll one hub: how long do answers take, and is anything lost?
//!
//! `cargo run --example poll -- PROGRAM [DATABASE] [NODES] [SECONDS] [INTERVAL]`: starts the program
//! on a fresh database, adds the nodes' builders with a configuration of the usual size, lets each
//! node poll on a connection of its own every INTERVAL seconds, and prints the distribution. The
//! answers and the events in the log have to be as many.
//!
//! DATABASE is `-` for a SQLite file, `postgres` for a PostgreSQL with `fsync` that is started here, or
//! the URL of an empty database.
//!
//! I/O: starts the program, perhaps PostgreSQL; temporary directories; loopback connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic ends the measurement, which is what is wanted"
)]

#[allow(
    dead_code,
    reason = "the tests' server, of which this needs less than they do"
)]
#[path = "../tests/hub/support/postgres.rs"]
mod postgres;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Connection(TcpStream);

impl Connection {
    /// Sends a request and reads the whole answer.
    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: hub\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 16384];
        loop {
            let count = self.0.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the hub hung up");
            read.extend_from_slice(&buffer[..count]);
            let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if read.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (
                    status,
                    String::from_utf8_lossy(&read[end + 4..]).into_owned(),
                );
            }
        }
    }

    async fn post(&mut self, path: &str, body: &Value) {
        let path = format!("/api/admin/v1/{path}");
        let (status, text) = self.ask("POST", &path, "", &body.to_string()).await;
        assert_eq!(status, 200, "{path}: {text}");
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize, default: u64| {
        arguments
            .get(index)
            .map_or(default, |text| text.parse().unwrap())
    };
    let program = arguments.get(1).expect("expected the program's path");
    let (nodes, seconds, interval) = (number(3, 2000), number(4, 30), number(5, 10));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hub.sqlite").display().to_string();
    let database = match arguments.get(2).map_or("-", String::as_str) {
        "-" => file,
        "postgres" => postgres::fresh_database(true),
        url => url.to_owned(),
    };
    let key = directory.path().join("key");
    assert!(
        Command::new(program)
            .args(["key", "new"])
            .arg(&key)
            .status()
            .unwrap()
            .success()
    );
    let mut hub = Command::new(program);
    hub.args([
        "serve",
        "--database",
        &database,
        "--disable-admin-auth",
        "--trust-proxy-headers",
    ]);
    hub.args(["--required-keys=none", "--secrets-key-file"])
        .arg(&key);
    for listener in ["listen", "admin", "internal", "metrics"] {
        hub.args([format!("--{listener}-addr"), "127.0.0.1:0".to_owned()]);
    }
    let mut hub = hub
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(hub.stdout.take().unwrap()).lines().take(4);
    let addresses: Vec<SocketAddr> = lines
        .map(|line| line.unwrap().rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    let mut admin = Connection(TcpStream::connect(addresses[1]).await.unwrap());
    set_up(&mut admin, nodes).await;

    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let polling = (0..nodes).map(|node| {
        // Spread over the interval, as nodes that were started one by one are.
        let first = start + Duration::from_millis(node * interval * 1000 / nodes);
        tokio::spawn(poll(
            addresses[0],
            address(node),
            first,
            Duration::from_secs(interval),
            end,
        ))
    });
    let mut took = Vec::new();
    for polling in polling.collect::<Vec<_>>() {
        took.extend(polling.await.unwrap());
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    let rate = took.len() as f64 / start.elapsed().as_secs_f64();
    println!(
        "{nodes} nodes, {} answers, {rate:.0}/s: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        took.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    let events = events(&mut admin).await;
    println!(
        "{events} GetConfig events in the log, {} answers",
        took.len()
    );
    hub.kill().unwrap();
    hub.wait().unwrap();
    assert_eq!(events, took.len(), "events were lost");
}

async fn set_up(admin: &mut Connection, nodes: u64) {
    let measurement = json!({"measurement_id": "m", "attestation_type": "test",
        "measurements": {"4": {"expected": "aa"}}});
    admin.post("measurements", &measurement).await;
    admin
        .post("measurements/activation/m", &json!({"enabled": true}))
        .await;
    let text = "x".repeat(64);
    let section: Value = (0..60)
        .map(|n| (format!("key{n}"), json!(text)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for node in 0..nodes {
        let name = format!("b{node}");
        let builder = json!({"name": name, "ip_address": address(node), "network": "production"});
        admin.post("builders", &builder).await;
        admin
            .post(
                &format!("builders/configuration/{name}"),
                &json!({"rbuilder": section}),
            )
            .await;
        admin
            .post(
                &format!("builders/secrets/{name}"),
                &json!({"rbuilder": {"key": "s"}}),
            )
            .await;
        admin
            .post(
                &format!("builders/activation/{name}"),
                &json!({"enabled": true}),
            )
            .await;
    }
}

fn address(node: u64) -> String {
    format!("10.0.{}.{}", node / 256, node % 256)
}

async fn poll(
    hub: SocketAddr,
    address: String,
    first: Instant,
    interval: Duration,
    end: Instant,
) -> Vec<Duration> {
    let headers = format!(
        "X-Flashbots-Attestation-Type: test\r\nX-Flashbots-Measurement: {{\"4\":\"aa\"}}\r\n\
         X-Forwarded-For: {address}\r\n"
    );
    let mut connection = Connection(TcpStream::connect(hub).await.unwrap());
    let mut took = Vec::new();
    let mut next = first;
    while next < end {
        tokio::time::sleep_until(next.into()).await;
        let start = Instant::now();
        let path = "/api/l1-builder/v1/configuration";
        let (status, _) = connection.ask("GET", path, &headers, "").await;
        assert_eq!(status, 200);
        took.push(start.elapsed());
        next += interval;
    }
    took
}

async fn events(admin: &mut Connection) -> usize {
    let (mut count, mut after) = (0, json!(0));
    while !after.is_null() {
        let path = format!("/api/admin/v1/events?limit=1000&after={after}");
        let (status, text) = admin.ask("GET", &path, "", "").await;
        assert_eq!(status, 200);
        let page: Value = serde_json::from_str(&text).unwrap();
        let entries = page["entries"].as_array().unwrap();
        count += entries
            .iter()
            .filter(|event| event["event"] == "GetConfig")
            .count();
        after = page["after"].clone();
    }
    count
}
