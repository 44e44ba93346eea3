//! Every answer that the served document lists, of every route, is given once, on both databases;
//! and none that it doesn't list.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::{Hub, Kind, LAX, PASSWORD, Place, on_both, postgres};

on_both!(every_documented_answer_is_given);

/// A method and a path, with its braces, as the document names them.
type Operation = (String, String);

struct Route {
    listener: String,
    /// For whom: nobody in particular, `node` or `admin`.
    security: Option<String>,
    statuses: BTreeSet<u16>,
}

/// What is documented, and what was seen.
struct Coverage {
    routes: BTreeMap<Operation, Route>,
    seen: RefCell<BTreeSet<(Operation, u16)>>,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Itself,
    Nobody,
    AnotherSite,
}

impl Coverage {
    fn new(document: &Value) -> Self {
        let mut routes = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let security = operation.get("security").map(|all| {
                    let kinds = all[0].as_object().unwrap();
                    kinds.keys().next().unwrap().clone()
                });
                let statuses = operation["responses"].as_object().unwrap().keys();
                let route = Route {
                    listener: operation["x-listeners"][0].as_str().unwrap().to_owned(),
                    security,
                    statuses: statuses.map(|status| status.parse().unwrap()).collect(),
                };
                routes.insert((method.to_uppercase(), path.clone()), route);
            }
        }
        assert!(routes.len() > 40, "{}", routes.len());
        let seen = RefCell::default();
        Self { routes, seen }
    }

    #[track_caller]
    fn see(&self, operation: &Operation, status: u16) {
        let documented = &self.routes[operation].statuses;
        assert!(
            documented.contains(&status),
            "{operation:?}: undocumented {status}"
        );
        self.seen.borrow_mut().insert((operation.clone(), status));
    }

    /// Asks, with `query` behind the path, and each of the path's braces replaced.
    #[track_caller]
    fn ask(&self, hub: &Hub, who: As, line: &str, name: &str, body: &str, status: u16) -> Answer {
        let (operation, query) = parse(line);
        let route = &self.routes[&operation];
        let path = format!("{}{query}", concrete(&operation.1, name));
        let basic = http::basic("admin", PASSWORD);
        let headers = headers(route, who, &basic);
        let address = hub.address(&route.listener);
        let answer = http::request(address, &operation.0, &path, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{line} {name}: {}", answer.text());
        self.see(&operation, status);
        answer
    }

    /// The routes that document a status.
    fn with(&self, status: u16) -> Vec<&Operation> {
        let routes = self.routes.iter();
        let routes = routes.filter(|(_, route)| route.statuses.contains(&status));
        routes.map(|(operation, _)| operation).collect()
    }

    fn missing(&self) -> Vec<(Operation, u16)> {
        let seen = self.seen.borrow();
        let all = self.routes.iter().flat_map(|(operation, route)| {
            let statuses = route.statuses.iter();
            statuses.map(|status| (operation.clone(), *status))
        });
        all.filter(|one| !seen.contains(one)).collect()
    }
}

/// `METHOD PATH[?QUERY]`; a path that doesn't begin with a slash is of the admin API.
fn parse(line: &str) -> (Operation, &str) {
    let (method, path) = line.split_once(' ').unwrap();
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/api/admin/v1/{path}"),
    };
    ((method.to_owned(), path), query)
}

fn concrete(path: &str, name: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{id}" => "1",
        part if part.starts_with('{') => name,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn headers<'a>(route: &Route, who: As, basic: &'a str) -> Vec<(&'static str, &'a str)> {
    if who == As::Nobody {
        return Vec::new();
    }
    let mut headers = match route.security.as_deref() {
        None => vec![],
        Some("node") => vec![
            ("X-Flashbots-Attestation-Type", "test"),
            ("X-Flashbots-Measurement", r#"{"4":"aa"}"#),
            ("X-Forwarded-For", "1.2.3.4"),
        ],
        Some("admin") => vec![("Authorization", basic)],
        Some(other) => panic!("{other}"),
    };
    if who == As::AnotherSite {
        headers.push(("Sec-Fetch-Site", "cross-site"));
    }
    headers
}

/// A body that is right for each operation that wants one.
fn right(operation: &Operation) -> String {
    let path = operation.1.as_str();
    let body = match path.strip_prefix("/api/admin/v1/").unwrap_or(path) {
        _ if operation.0 != "POST" => return String::new(),
        "measurements" => json!({"measurement_id": "x", "attestation_type": "test",
            "measurements": {"4": {"expected": "aa"}}}),
        "builders" => json!({"name": "x", "ip_address": "1.2.3.4", "network": "x"}),
        "networks/{network}/required-keys" => json!({"required": [{"key": "late"}]}),
        "/api/l1-builder/v1/register_credentials/{service}" => {
            json!({"ecdsa_pubkey_address": format!("0x{}", "1".repeat(40))})
        }
        path if path.contains("/activation/") => json!({"enabled": true}),
        _ => json!({"any": "thing"}),
    };
    body.to_string()
}

const CONFIGURATION: &str = "GET /api/l1-builder/v1/configuration";
const REGISTER: &str = "POST /api/l1-builder/v1/register_credentials/{service}";
const OFF: &str = r#"{"enabled":false}"#;

/// What is asked of an empty hub, in this order, and answered with 200 unless another status is
/// there. An empty body stands for a right one. Everything is called `x`, the network, too.
const STORY: &[(&str, &str, u16)] = &[
    ("POST measurements", "", 200),
    ("POST measurements", "", 500),
    ("POST measurements/activation/{measurement_id}", "", 200),
    ("GET measurements", "", 200),
    ("GET measurements/{measurement_id}", "", 200),
    ("DELETE measurements/{measurement_id}", "", 400),
    ("POST builders", "", 200),
    ("POST builders", "", 500),
    ("GET builders/configuration/{name}/active", "", 404),
    ("GET builders/configuration/{name}/full", "", 404),
    ("POST builders/activation/{name}", "", 400),
    ("POST builders/configuration/{name}", "", 200),
    ("POST builders/activation/{name}", "", 200),
    ("DELETE builders/{name}", "", 400),
    ("GET builders", "", 200),
    ("GET builders/{name}", "", 200),
    ("POST builders/secrets/{name}", "", 200),
    ("GET builders/configuration/{name}/active", "", 200),
    ("GET builders/configuration/{name}/full", "", 200),
    ("GET builders/configuration/{name}/check", "", 200),
    ("GET builders/configuration/{name}/earlier/{id}", "", 200),
    ("GET builders/history/{name}", "", 200),
    ("POST defaults/configuration", "", 200),
    ("GET defaults/configuration", "", 200),
    ("POST defaults/secrets", "", 200),
    ("POST networks/{network}/configuration", "", 200),
    ("GET networks/{network}/configuration", "", 200),
    ("POST secrets/rotation", "", 200),
    (CONFIGURATION, "", 200),
    ("GET /api/l1-builder/v1/builders", "", 200),
    ("GET /api/l1-builder/v1/registration_challenge", "", 200),
    (REGISTER, "", 200),
    (REGISTER, "{}", 400),
    ("GET builders/credentials/{name}", "", 200),
    ("GET builders/events/{name}", "", 200),
    ("GET events", "", 200),
    ("GET builders/credentials/{name}?limit=x", "", 400),
    ("GET builders/history/{name}?limit=x", "", 400),
    ("POST networks/{network}/required-keys", "", 200),
    ("GET networks/{network}/required-keys", "", 200),
    (CONFIGURATION, "", 409),
    ("DELETE networks/{network}/required-keys", "", 200),
    ("GET /api/l1-builder/v1/measurements", "", 200),
    ("GET /api/internal/l1-builder/v1/builders", "", 200),
    (
        "GET /api/internal/l1-builder/v2/network/{network}/builders",
        "",
        200,
    ),
    ("GET /livez", "", 200),
    ("GET /readyz", "", 200),
    ("GET /drain", "", 200),
    ("GET /readyz", "", 503),
    ("GET /undrain", "", 200),
    ("GET /openapi.json", "", 200),
    ("GET /metrics", "", 200),
    ("GET /", "", 200),
    ("GET /style.css", "", 200),
    ("DELETE builders/secrets/{name}", "", 200),
    ("DELETE defaults/configuration", "", 200),
    ("DELETE defaults/secrets", "", 200),
    ("DELETE networks/{network}/configuration", "", 200),
    ("POST builders/activation/{name}", OFF, 200),
    (CONFIGURATION, "", 403),
    ("DELETE builders/{name}", "", 200),
    ("POST measurements/activation/{measurement_id}", OFF, 200),
    ("DELETE measurements/{measurement_id}", "", 200),
];

/// Routes without a name in their path of which there is nothing yet.
const NOTHING_YET: &[&str] = &[
    "GET defaults/configuration",
    "DELETE defaults/configuration",
    "DELETE defaults/secrets",
];

fn every_documented_answer_is_given(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::start(
        &place,
        &[LAX, &["--admin-failures-per-minute=10000"]].concat(),
    );
    let document = hub.ask("main", "GET", "/openapi.json").ok().json();
    let coverage = Coverage::new(&document);
    // Half a minute, in which all the rest happens.
    let stalled = stall(&coverage, &hub);

    for line in NOTHING_YET {
        coverage.ask(&hub, As::Itself, line, "x", "", 404);
    }
    for (line, body, status) in STORY {
        let right = right(&parse(line).0);
        let body = if body.is_empty() { &right } else { *body };
        coverage.ask(&hub, As::Itself, line, "x", body, *status);
    }
    refusals(&coverage, &hub);
    limits(&coverage, &place);
    failures(&coverage, &place, kind);
    for (operation, status) in stalled.into_iter().map(|stalled| stalled.join().unwrap()) {
        coverage.see(&operation, status);
        assert_eq!(status, 503, "{operation:?}");
    }
    let missing = coverage.missing();
    assert!(
        missing.is_empty(),
        "documented and never seen: {missing:#?}"
    );
}

/// What is refused whatever there is: strangers, unknown names, bodies that are wrong or too large.
fn refusals(coverage: &Coverage, hub: &Hub) {
    let ask = |who, operation: &Operation, query: &str, body: &str, status| {
        let line = format!("{} {}{query}", operation.0, operation.1);
        coverage.ask(hub, who, &line, "unknown", body, status)
    };
    for operation in coverage.with(401) {
        ask(As::Nobody, operation, "", "", 401);
    }
    for operation in coverage.with(403) {
        let is_node = coverage.routes[operation].security.as_deref() == Some("node");
        let who = if is_node { As::Nobody } else { As::AnotherSite };
        ask(who, operation, "", &right(operation), 403);
    }
    for operation in coverage.with(404) {
        if operation.1.contains('{') {
            let answer = ask(As::Itself, operation, "", &right(operation), 404);
            assert_eq!(answer.json()["message"], "not found", "{operation:?}");
        }
    }
    let is_about_one = |operation: &Operation| {
        let path = &operation.1;
        path.contains("/history/") || path.contains("/credentials/") || path.contains("register")
    };
    for operation in coverage.with(400) {
        match operation.0.as_str() {
            // A list that was asked for wrongly; of one builder, it has to be there first: above.
            "GET" if !is_about_one(operation) => {
                drop(ask(As::Itself, operation, "?limit=x", "", 400))
            }
            "POST" if !is_about_one(operation) => drop(ask(As::Itself, operation, "", "{", 400)),
            _ => {}
        }
    }
    let large = " ".repeat((1 << 20) + 1);
    for operation in coverage.with(413) {
        ask(As::Itself, operation, "", &large, 413);
    }
}

/// A hub that lets nobody ask twice.
fn limits(coverage: &Coverage, place: &Place) {
    let options = [
        "--trust-proxy-headers",
        "--node-requests-per-minute=1",
        "--admin-failures-per-minute=1",
    ];
    let hub = Hub::start(place, &options);
    hub.ask("admin", "GET", "/").is(401);
    hub.node("1.2.3.4", "GET", "configuration", "").is(403);
    for operation in coverage.with(429) {
        let line = format!("{} {}", operation.0, operation.1);
        let answer = coverage.ask(&hub, As::Itself, &line, "x", &right(operation), 429);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=61).contains(&wait), "{wait}");
    }
}

/// A hub whose database has lost all that was in it.
fn failures(coverage: &Coverage, place: &Place, kind: Kind) {
    let hub = Hub::lax(place);
    match kind {
        Kind::Sqlite => {
            let database = rusqlite::Connection::open(&place.location).unwrap();
            database.busy_timeout(Duration::from_secs(10)).unwrap();
            let all = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'hub_%'";
            let mut names = database.prepare(all).unwrap();
            let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
            let names: Vec<String> = names.map(Result::unwrap).collect();
            let drop = |name: &String| format!("DROP TABLE {name};");
            let drop: String = names.iter().map(drop).collect();
            let all = format!("PRAGMA foreign_keys = OFF; {drop}");
            database.execute_batch(&all).unwrap();
        }
        Kind::Postgres => {
            let all = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            drop(postgres::sql(&place.location, all));
        }
    }
    for operation in coverage.with(500) {
        let line = format!("{} {}", operation.0, operation.1);
        let answer = coverage.ask(&hub, As::Itself, &line, "x", &right(operation), 500);
        // Nothing of what is wrong inside.
        assert_eq!(
            answer.json(),
            json!({"message": "internal error"}),
            "{operation:?}"
        );
    }
}

/// Sends each route a request whose body never comes.
fn stall(coverage: &Coverage, hub: &Hub) -> Vec<std::thread::JoinHandle<(Operation, u16)>> {
    let basic = http::basic("admin", PASSWORD);
    let all = coverage.with(503).into_iter().map(|operation| {
        let route = &coverage.routes[operation];
        let headers = headers(route, As::Itself, &basic);
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let (method, path) = (&operation.0, concrete(&operation.1, "x"));
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: hub\r\n{headers}Content-Length: 1\r\n\r\n");
        let (address, operation) = (hub.address(&route.listener), operation.clone());
        std::thread::spawn(move || (operation, first_status(address, &request)))
    });
    all.collect()
}

fn first_status(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(90)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    let answer = std::str::from_utf8(&answer).unwrap();
    answer.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}
