//! Azure's instance metadata service: the machine's description, and quotes of its TD reports.
//!
//! Answers as the real service does where a guest could tell (`spec/azure-sim.md`,
//! `spec/attestation.md` B.1): `POST /acc/tdquote` insists on the exact content type and on a report
//! of this machine; `GET /metadata/instance` on the header `Metadata` and a version.
//!
//! I/O: listens on 127.0.0.1.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::http::{Answer, Manner, Request, Server};
use crate::tee::Tee;

/// What goes wrong with one request for a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status.
    Status(u16),
    /// It is not answered, but the connection stays.
    Hang,
    /// The answer comes byte by byte, with this pause after each.
    Drip(Duration),
    /// The answer ends within the quote.
    CutOff,
    /// The connection is closed.
    Close,
    /// The answer is not JSON.
    Garbage,
    /// The quote is not base64.
    NotBase64,
    /// The quote is random bytes.
    NoQuote,
    /// The quote is of another report of this machine.
    OtherReport,
    /// The quote is followed by a megabyte of zeros.
    Oversized,
}

/// A running service. Ends when dropped.
#[derive(Debug)]
pub struct Imds {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// For the next requests, one each.
    next: VecDeque<Fault>,
    /// For all requests after those.
    always: Option<Fault>,
    requests: Vec<Request>,
}

impl Imds {
    /// Starts the service of a machine of this name; the `faults` befall the first requests for a
    /// quote, one each.
    ///
    /// # Errors
    ///
    /// An I/O error if there is no free port.
    pub fn start(
        tee: Tee,
        name: &str,
        faults: impl IntoIterator<Item = Fault>,
    ) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            next: faults.into_iter().collect(),
            ..State::default()
        }));
        let (name, of_server) = (name.to_owned(), Arc::clone(&state));
        let server = Server::start(move |request| {
            let fault = lock(&of_server).receive(request);
            match request.path() {
                "/acc/tdquote" => quote(&tee, request, fault),
                path => metadata(&tee, &name, path, request),
            }
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.server.address()
    }

    /// Its base address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Lets these faults befall the next requests for a quote, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state).next.extend(faults);
    }

    /// Lets a fault befall all requests for a quote, or none any more.
    pub fn fail_always(&self, fault: Option<Fault>) {
        lock(&self.state).always = fault;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// How many of them were for a quote.
    pub fn quotes(&self) -> usize {
        let is_quote = |request: &&Request| is_for_quote(request);
        lock(&self.state).requests.iter().filter(is_quote).count()
    }
}

impl State {
    fn receive(&mut self, request: &Request) -> Option<Fault> {
        self.requests.push(request.clone());
        is_for_quote(request)
            .then(|| self.next.pop_front().or(self.always))
            .flatten()
    }
}

fn is_for_quote(request: &Request) -> bool {
    request.path() == "/acc/tdquote"
}

fn quote(tee: &Tee, request: &Request, fault: Option<Fault>) -> Answer {
    if request.method != "POST" {
        return Answer::new(405, "text/plain", "");
    }
    // Nothing may follow, not even a charset.
    if request.header("content-type") != Some("application/json") {
        return Answer::new(415, "application/json", "{}");
    }
    let refused = |error: &str| {
        Answer::new(
            400,
            "application/json",
            json!({ "error": error }).to_string(),
        )
    };
    let Some(report) = reported(&request.body) else {
        return refused("expected a report in base64url");
    };
    let quote = match tee.quote_bytes(&report) {
        Ok(quote) => quote,
        Err(error) => return refused(&error.to_string()),
    };
    let answer = |quote: Vec<u8>| {
        let body = json!({ "quote": URL_SAFE_NO_PAD.encode(quote) }).to_string();
        Answer::new(200, "application/json", body)
    };
    let manner = |manner| Answer {
        manner,
        ..answer(quote.clone())
    };
    match fault {
        None => answer(quote),
        Some(Fault::Status(status)) => Answer::new(status, "text/plain", "scripted"),
        Some(Fault::Hang) => manner(Manner::Hang),
        Some(Fault::Drip(pause)) => manner(Manner::Drip(pause)),
        Some(Fault::CutOff) => manner(Manner::CutOff),
        Some(Fault::Close) => manner(Manner::Close),
        Some(Fault::Garbage) => Answer::new(200, "application/json", "<html>"),
        Some(Fault::NotBase64) => Answer::new(200, "application/json", r#"{"quote":"+/+/"}"#),
        Some(Fault::NoQuote) => answer(vec![0x5a; 5000]),
        Some(Fault::OtherReport) => answer(tee.quote(&tee.td_report([0x66; 64]))),
        Some(Fault::Oversized) => answer([quote, vec![0; 1 << 20]].concat()),
    }
}

fn reported(body: &[u8]) -> Option<Vec<u8>> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    URL_SAFE_NO_PAD.decode(json.get("report")?.as_str()?).ok()
}

fn metadata(tee: &Tee, name: &str, path: &str, request: &Request) -> Answer {
    let refused = |error: &str| {
        Answer::new(
            400,
            "application/json",
            json!({ "error": error }).to_string(),
        )
    };
    // Whoever forwards foreign requests must not reach the service.
    let is_local =
        request.header("metadata") == Some("true") && request.header("x-forwarded-for").is_none();
    if !is_local {
        return refused("Bad request. Required metadata header not specified");
    }
    if !request.target.contains("api-version=") {
        return refused("Bad request. api-version is invalid or was not specified");
    }
    match (request.method.as_str(), path) {
        ("GET", "/metadata/instance") => {
            let compute = json!({
                "azEnvironment": "AzurePublicCloud",
                "location": "westeurope",
                "name": name,
                "vmId": tee.machine().vm_id,
                "vmSize": "Standard_EC16es_v5",
            });
            let body = json!({ "compute": compute, "network": { "interface": [] } });
            Answer::new(200, "application/json; charset=utf-8", body.to_string())
        }
        ("GET", "/metadata/instance/compute/name") => {
            Answer::new(200, "text/plain; charset=utf-8", name)
        }
        _ => Answer::new(404, "text/plain", ""),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
