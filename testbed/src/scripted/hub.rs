//! A hub that answers as a test says, over the attested TLS that nodes of the image speak.
//!
//! It is for what a hub may answer, and asks nobody for evidence: that a hub believes nodes is shown with
//! a real one.
//!
//! I/O: listens on 127.0.0.1; a thread of its own that ends with it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Waiting, Poll, ready};
use std::time::Duration;

use anyhow::{Context, Result};
use attestation::tls::limits::Bounds;
use attestation::tls::{Acceptor, BoxError, Http, Identity, Nobody, ServerSettings, Timeouts};
use attested_http::body::{failure, full};
use attested_http::server::Limits;
use attested_http::{Body, Peer, Server};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use testkit::azure::hub::Credentials;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::{Sleep, sleep};

/// The paths that the image asks at.
const CONFIGURATION: &str = "/api/l1-builder/v1/configuration";
const CHALLENGE: &str = "/api/l1-builder/v1/registration_challenge";
const REGISTER: &str = "/api/l1-builder/v1/register_credentials/instance";

/// After this, half an answer has gone out.
const HALF: Duration = Duration::from_millis(500);
/// More than a node takes.
const HUGE: usize = 3 << 20;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// This status, without a body.
    Status(u16),
    /// This status, and this reason.
    Refusal(u16, &'static str),
    /// This body, with status 200.
    Body(&'static str),
    /// The right answer, but for this member, which is missing.
    Without(&'static str),
    /// The right answer, but for this member, which is a number.
    Number(&'static str),
    /// Three megabytes of JSON.
    Huge,
    /// The first half of the right answer, then the connection ends.
    CutOff,
    /// Nothing, ever.
    Never,
}

/// A hub that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct ScriptedHub {
    address: SocketAddrV4,
    script: Arc<Mutex<Script>>,
    // Its thread ends with it.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Script {
    configuration: Value,
    configuration_wrong: Option<Wrong>,
    registration_wrong: Option<Wrong>,
    registered: Vec<String>,
}

impl ScriptedHub {
    /// Starts one with this certificate, that hands out `configuration`.
    pub(crate) fn start(credentials: &Credentials, configuration: Value) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the hub's runtime")?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.context("listen for nodes")?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into());
        };
        let script = Arc::new(Mutex::new(Script {
            configuration,
            configuration_wrong: None,
            registration_wrong: None,
            registered: Vec::new(),
        }));
        let of_service = Arc::clone(&script);
        let service = move |request: Request<Body>, _: Peer<Nobody>| {
            let script = Arc::clone(&of_service);
            async move { answer(request, &script).await }
        };
        let server = Server::new(listener, acceptor(credentials)?, service, Limits::default());
        let never = std::future::pending();
        runtime.spawn(async move { drop(server.run(never, None, || {}).await) });
        Ok(Self {
            address,
            script,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Answers requests for the configuration wrongly from now on, or rightly.
    pub(crate) fn set_configuration_wrong(&self, wrong: Option<Wrong>) {
        lock(&self.script).configuration_wrong = wrong;
    }

    /// Answers registrations wrongly from now on, or rightly.
    pub(crate) fn set_registration_wrong(&self, wrong: Option<Wrong>) {
        lock(&self.script).registration_wrong = wrong;
    }

    /// Changes the configuration.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Value) -> T) -> T {
        change(&mut lock(&self.script).configuration)
    }

    /// The certificates that were registered, PEM, the latest last.
    pub(crate) fn registered(&self) -> Vec<String> {
        lock(&self.script).registered.clone()
    }
}

fn acceptor(credentials: &Credentials) -> Result<Acceptor<Nobody, Nobody>> {
    let certificate = CertificateDer::from_pem_slice(credentials.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes());
    let acceptor = Acceptor::new(ServerSettings {
        identity: Identity {
            chain: vec![certificate.context("read the hub's certificate")?],
            key: key.context("read the hub's key")?,
        },
        attester: None,
        verifier: None,
        http: vec![Http::Http1],
        bounds: Bounds::default(),
        timeouts: Timeouts::CLIENT,
    });
    acceptor.context("prepare the hub's TLS")
}

async fn answer(request: Request<Body>, script: &Mutex<Script>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (right, wrong) = match (method, path.as_str()) {
        (Method::GET, CONFIGURATION) => {
            let script = lock(script);
            (script.configuration.clone(), script.configuration_wrong)
        }
        (Method::GET, CHALLENGE) => (json!({ "challenge": "1.of.a.test" }), None),
        (Method::POST, REGISTER) => {
            let Ok(body) = request.into_body().collect().await else {
                return failure(StatusCode::BAD_REQUEST, "body", "the body broke off");
            };
            let mut script = lock(script);
            if script.registration_wrong.is_none() {
                let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
                let certificate = body.get("tls_cert").and_then(Value::as_str);
                script.registered.extend(certificate.map(str::to_owned));
            }
            (json!({}), script.registration_wrong)
        }
        _ => return failure(StatusCode::NOT_FOUND, "path", "there is no such path"),
    };
    match wrong {
        None => json_of(full(right.to_string())),
        Some(wrong) => wrong.answer(right).await,
    }
}

impl Wrong {
    async fn answer(self, mut right: Value) -> Response<Body> {
        let of_status = |status: u16, body: Body| {
            let mut response = json_of(body);
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response
        };
        match self {
            Self::Status(status) => of_status(status, full("")),
            Self::Refusal(status, reason) => {
                of_status(status, full(json!({ "message": reason }).to_string()))
            }
            Self::Body(body) => json_of(full(body)),
            Self::Without(member) => {
                if let Some(members) = right.as_object_mut() {
                    members.remove(member);
                }
                json_of(full(right.to_string()))
            }
            Self::Number(member) => {
                if let Some(value) = right.get_mut(member) {
                    *value = json!(7);
                }
                json_of(full(right.to_string()))
            }
            Self::Huge => {
                if let Some(members) = right.as_object_mut() {
                    members.insert("filling".to_owned(), "x".repeat(HUGE).into());
                }
                json_of(full(right.to_string()))
            }
            Self::CutOff => {
                let mut whole = right.to_string().into_bytes();
                let length = whole.len();
                whole.truncate(length / 2);
                let half = Half {
                    bytes: Some(Bytes::from(whole)),
                    end: Box::pin(sleep(HALF)),
                };
                let half = half.boxed_unsync();
                let mut response = json_of(half);
                let length = HeaderValue::from(length);
                response.headers_mut().insert(CONTENT_LENGTH, length);
                response
            }
            Self::Never => std::future::pending().await,
        }
    }
}

fn json_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Some bytes and, when they have gone out, an error, at which the connection ends.
struct Half {
    bytes: Option<Bytes>,
    end: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        waiting: &mut Waiting<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        ready!(self.end.as_mut().poll(waiting));
        let error = "cut off, as the test wants it";
        Poll::Ready(Some(Err(error.into())))
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use testkit::azure::hub::{NAME, certify};
    use testkit::fetch::fetch_insecure;
    use testkit::needed;

    use super::*;

    /// Asks as a node's proxy does, but for the evidence.
    fn ask(hub: &ScriptedHub) -> Result<StatusCode, String> {
        use attestation::tls::{Connector, Dial, NameCheck};
        use attested_http::Upstream;
        use attested_http::body::empty;
        use attested_http::client::ClientSettings;

        let runtime = Runtime::new().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let root = testkit::azure::hub::root().unwrap();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let check = NameCheck::new(NAME.try_into().unwrap(), roots).unwrap();
        let http = vec![Http::Http2, Http::Http1];
        let dial = Dial::RatlsNamed(check);
        let connector = Connector::<Nobody, Nobody>::new(dial, None, http, Timeouts::CLIENT);
        let target = format!("https://{}", hub.address()).parse().unwrap();
        let upstream = Upstream::new(target, connector.unwrap(), ClientSettings::default());
        let request = Request::get(CONFIGURATION).body(empty()).unwrap();
        let answer = runtime.block_on(upstream.send(request));
        let answer = answer.map(|answer| answer.response.status());
        answer.map_err(|error| attested_http::Causes(&error).to_string())
    }

    #[test]
    fn nodes_believe_the_hub_and_no_stranger() {
        let now = SystemTime::now();
        let start = |credentials| ScriptedHub::start(&credentials, json!({})).unwrap();
        let hub = start(certify(NAME, now).unwrap());
        assert_eq!(ask(&hub), Ok(StatusCode::OK));
        let stranger = testkit::azure::hub::certify_by_a_stranger(NAME, now).unwrap();
        let refused = ask(&start(stranger)).unwrap_err();
        assert!(refused.contains("certificate was refused"), "{refused}");
        let refused = ask(&start(certify("other.test", now).unwrap())).unwrap_err();
        assert!(refused.contains("not valid for name"), "{refused}");
    }

    #[test]
    fn answers_are_as_the_test_says() {
        if !needed::programs(&["curl"]) {
            return;
        }
        let credentials = certify(NAME, SystemTime::now()).unwrap();
        let right = json!({ "dns_name": "a.test", "other": 1 });
        let hub = ScriptedHub::start(&credentials, right.clone()).unwrap();
        let get = || {
            let limit = Duration::from_secs(20);
            let body = fetch_insecure(hub.address(), CONFIGURATION, limit);
            body.map(|body| serde_json::from_slice::<Value>(&body).unwrap())
        };
        assert_eq!(get().unwrap(), right);
        for wrong in [Wrong::Status(500), Wrong::Refusal(403, "no"), Wrong::CutOff] {
            hub.set_configuration_wrong(Some(wrong));
            assert!(get().is_err(), "{wrong:?}");
        }
        for (wrong, body) in [
            (Wrong::Body("{}"), json!({})),
            (Wrong::Without("dns_name"), json!({ "other": 1 })),
            (
                Wrong::Number("dns_name"),
                json!({ "dns_name": 7, "other": 1 }),
            ),
        ] {
            hub.set_configuration_wrong(Some(wrong));
            assert_eq!(get().unwrap(), body, "{wrong:?}");
        }
        hub.set_configuration_wrong(Some(Wrong::Huge));
        assert!(get().unwrap().to_string().len() > HUGE);
        hub.set_configuration_wrong(None);
        hub.change(|configuration| configuration["other"] = json!(2));
        assert_eq!(get().unwrap()["other"], 2);
        assert!(hub.registered().is_empty());
    }
}
