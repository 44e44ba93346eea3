//! A hub as its proxy on the node shows it, which does what the test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestation::tls::Nobody;
use attested_http::body::full;
use attested_http::server::{Limits, Unencrypted};
use attested_http::{Body, Peer, Server};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const CHALLENGE: &str = "1.challenge.of.the.test";

/// What is answered to one request for the configuration; the last one stays.
#[derive(Clone)]
pub(crate) enum Answer {
    Is(u16, String),
    Hangs,
}

impl Answer {
    pub(crate) fn good(value: &Value) -> Self {
        Self::Is(200, value.to_string())
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) asked: usize,
    /// Answers to registrations that are not 200, before those that are.
    pub(crate) refusals: VecDeque<u16>,
    pub(crate) registered: Vec<Value>,
    pub(crate) has_challenges: bool,
}

/// Ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answers).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            answers: answers.into_iter().collect(),
            has_challenges: true,
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let service = move |request: Request<Body>, _: Peer<Nobody>| {
            let shared = Arc::clone(&shared);
            async move { answer(request, &shared).await }
        };
        let server = Server::<Nobody, _, _>::new(listener, Unencrypted, service, Limits::default());
        let never = std::future::pending();
        tokio::spawn(async move { drop(server.run(never, None, || {}).await) });
        Self { address, state }
    }

    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers = answers.into_iter().collect();
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    pub(crate) fn registered(&self) -> Vec<Value> {
        self.state.lock().unwrap().registered.clone()
    }
}

async fn answer(request: Request<Body>, state: &Mutex<State>) -> Response<Body> {
    let path = format!("{} {}", request.method(), request.uri().path());
    match path.as_str() {
        "GET /api/configuration" => configuration(state).await,
        "GET /api/challenge" if state.lock().unwrap().has_challenges => {
            response(200, json!({ "challenge": CHALLENGE }).to_string())
        }
        "POST /api/register/instance" | "POST /api/register/signer" => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut state = state.lock().unwrap();
            match state.refusals.pop_front() {
                Some(status) => response(status, r#"{"message":"not now"}"#.to_owned()),
                None => {
                    let mut body: Value = serde_json::from_slice(&body).unwrap();
                    if path.ends_with("signer") {
                        body["service"] = "signer".into();
                    }
                    state.registered.push(body);
                    response(200, String::new())
                }
            }
        }
        _ => response(404, String::new()),
    }
}

async fn configuration(state: &Mutex<State>) -> Response<Body> {
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked += 1;
        match state.answers.len() {
            1 => state.answers.front().cloned(),
            _ => state.answers.pop_front(),
        }
    };
    match answer.expect("the test gives an answer") {
        Answer::Is(status, body) => response(status, body),
        Answer::Hangs => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            response(500, String::new())
        }
    }
}

fn response(status: u16, body: String) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The names in a registered certificate, whose key has signed the challenge.
pub(crate) fn proven_names(registered: &Value) -> Vec<String> {
    let pem = registered["tls_cert"].as_str().unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let certificate = webpki::EndEntityCert::try_from(&der).unwrap();
    let proof = &registered["proof"];
    assert_eq!(proof["challenge"], CHALLENGE);
    let signature = BASE64_STANDARD.decode(proof["signature"].as_str().unwrap());
    let service = registered["service"].as_str().unwrap_or("instance");
    let mut message = format!("builderhub registration v1\n{CHALLENGE}\n{service}\n").into_bytes();
    message.extend_from_slice(digest(&SHA256, &der).as_ref());
    let algorithm = webpki::ring::ECDSA_P256_SHA256;
    let verified = certificate.verify_signature(algorithm, &message, &signature.unwrap());
    verified.unwrap();
    certificate.valid_dns_names().map(str::to_owned).collect()
}
