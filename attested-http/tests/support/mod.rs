//! Both proxies between a client and an origin, with machines that are made of test keys.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attestation::tls::limits::{Bounds, Rate};
use attestation::tls::{
    Acceptor, Connector, Dial, HandshakeError, Http, Identity, Nobody, ServerSettings, Timeouts,
};
use attestation::{
    Appraised, Appraiser, Collateral, CollateralSource, EvidenceKind, EvidenceVerifier, Policy,
    TcbPolicy, TrustRoots, Verifier,
};
use attested_http::body::{Body, full, text};
use attested_http::client::{
    ClientSettings, Dialed, Secure, Securing, Target, Unsecured, Upstream,
};
use attested_http::forward::{ForwardSettings, Forwarder};
use attested_http::server::{Counters, Cut, Handshake, Limits, Peer, Server, Service, Unencrypted};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use measurements::reference::ReferenceValues;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use testkit::tee::{Tee, TeeAttester};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The two protocols, as one who dials names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Atls,
    Ratls,
}

pub(crate) const BOTH: [Spoken; 2] = [Spoken::Atls, Spoken::Ratls];

impl Spoken {
    pub(crate) fn dial<V>(self, verifier: V) -> Dial<V> {
        match self {
            Self::Atls => Dial::Atls(verifier),
            Self::Ratls => Dial::Ratls(verifier),
        }
    }

    /// How headers spell the type of evidence.
    pub(crate) fn type_of(self, kind: EvidenceKind) -> &'static str {
        match self {
            Self::Atls => kind.variant_name(),
            Self::Ratls => kind.name(),
        }
    }
}

/// A machine that a test may trust.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) tee: Tee,
    pub(crate) kind: EvidenceKind,
}

impl Machine {
    pub(crate) fn new(seed: u64, kind: EvidenceKind) -> Self {
        Self {
            tee: Tee::new(seed, SystemTime::now()),
            kind,
        }
    }

    pub(crate) fn azure() -> Self {
        Self::new(1, EvidenceKind::AzureTdx)
    }

    pub(crate) fn dcap() -> Self {
        Self::new(1, EvidenceKind::DcapTdx)
    }

    pub(crate) fn attester(&self) -> TeeAttester {
        self.tee.attester(self.kind)
    }

    /// Its registers, lower-case hex by index.
    pub(crate) fn registers(&self) -> BTreeMap<String, String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.kind {
            EvidenceKind::AzureTdx => {
                let pcrs = self.tee.pcrs.iter();
                pcrs.map(|(index, value)| (index.to_string(), hex(value)))
                    .collect()
            }
            EvidenceKind::DcapTdx => {
                let td = &self.tee.td;
                let values = std::iter::once(&td.mrtd).chain(&td.rtmrs);
                values
                    .enumerate()
                    .map(|(index, value)| (index.to_string(), hex(value)))
                    .collect()
            }
        }
    }

    /// What the header with them must be: compact, keys sorted as strings.
    pub(crate) fn header(&self) -> String {
        serde_json::to_string(&self.registers()).unwrap()
    }

    /// Trusts machines of this kind, of this root, that run this image.
    pub(crate) fn appraiser(&self) -> Appraiser {
        self.appraiser_of("the image", self.registers())
    }

    pub(crate) fn appraiser_of(
        &self,
        name: &str,
        registers: BTreeMap<String, String>,
    ) -> Appraiser {
        let list = serde_json::json!([{
            "measurement_id": name,
            "attestation_type": self.kind.name(),
            "measurements": registers,
        }]);
        let references = ReferenceValues::parse(&list.to_string()).unwrap();
        let policy = Policy::new(references, TcbPolicy::up_to_date()).unwrap();
        Appraiser::new(self.verifier(), policy)
    }

    fn verifier(&self) -> EvidenceVerifier {
        let ak_roots = vec![self.tee.ak_certificates(&self.tee.ak()).root];
        let roots = TrustRoots::danger_trust_instead(self.tee.root().to_vec(), ak_roots);
        let collateral = self.tee.collateral().to_json();
        let collateral = Collateral::parse(collateral.as_bytes()).unwrap();
        let clock = Arc::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        });
        let source = CollateralSource::Given(Arc::new(collateral));
        EvidenceVerifier::new(Verifier::new(roots), source, clock)
    }
}

pub(crate) fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

fn wide() -> Bounds {
    let rate = Rate::new(NonZeroU32::new(1_000_000).unwrap(), 1_000_000);
    Bounds {
        handshakes: 10_000,
        handshakes_per_peer: 10_000,
        evidence_at_once: 10_000,
        evidence: rate,
        evidence_per_peer: rate,
        ..Bounds::default()
    }
}

pub(crate) const H2: &[Http] = &[Http::Http2, Http::Http1];
pub(crate) const H1: &[Http] = &[Http::Http1];

pub(crate) fn acceptor(
    own: Option<&Machine>,
    clients: Option<Appraiser>,
    http: &[Http],
) -> Acceptor<TeeAttester, Appraiser> {
    Acceptor::new(ServerSettings {
        identity: identity(),
        attester: own.map(Machine::attester),
        verifier: clients,
        http: http.to_vec(),
        bounds: wide(),
        timeouts: Timeouts::SERVER,
    })
    .unwrap()
}

pub(crate) fn connector(
    spoken: Spoken,
    own: Option<&Machine>,
    servers: Appraiser,
    http: &[Http],
) -> Connector<TeeAttester, Appraiser> {
    let own = own.map(Machine::attester);
    Connector::new(spoken.dial(servers), own, http.to_vec(), Timeouts::CLIENT).unwrap()
}

/// A server that runs until the test ends or stops it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Cut>>,
}

impl Running {
    pub(crate) async fn start<C, H, S>(handshake: H, service: S, limits: Limits) -> Self
    where
        C: Send + Sync + 'static,
        H: Handshake<C>,
        S: Service<C>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, handshake, service, limits)
    }

    pub(crate) fn on<C, H, S>(
        listener: TcpListener,
        handshake: H,
        service: S,
        limits: Limits,
    ) -> Self
    where
        C: Send + Sync + 'static,
        H: Handshake<C>,
        S: Service<C>,
    {
        let address = listener.local_addr().unwrap();
        let server = Server::new(listener, handshake, service, limits);
        let counters = server.counters();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            server.run(stop, None, || {}).await.finish().await
        });
        Self {
            address,
            counters,
            stop: Some(stop),
            task: Some(task),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    /// Stops it and says what had to be cut.
    pub(crate) async fn end(mut self) -> Cut {
        self.stop();
        self.task.take().unwrap().await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What an origin has seen of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) peer: SocketAddr,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A plain HTTP server that remembers the heads of requests.
pub(crate) struct Origin {
    pub(crate) server: Running,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        let service = move |request: Request<Body>, peer: Peer<Nobody>| {
            noted.lock().unwrap().push(Seen {
                method: request.method().to_string(),
                uri: request.uri().to_string(),
                headers: request.headers().clone(),
                peer: peer.address,
            });
            answer(request)
        };
        Self {
            server: Running::on(listener, Unencrypted, service, loose()),
            seen,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("a request")
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// From how many connections requests came.
    pub(crate) fn connections(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let peers: std::collections::HashSet<_> = seen.iter().map(|seen| seen.peer).collect();
        peers.len()
    }
}

/// Limits that tests of other things do not reach.
pub(crate) fn loose() -> Limits {
    Limits {
        connections: 10_000,
        connections_per_peer: 10_000,
        notice: Duration::from_millis(20),
        drain: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// More than fits on the way.
pub(crate) const LARGE: usize = 8 << 20;

async fn answer(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => Response::new(request.into_body()),
        "/length" => {
            let mut length = 0;
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => length += frame.data_ref().map_or(0, Bytes::len),
                    Err(_) => return text(StatusCode::BAD_REQUEST, "broken off"),
                }
            }
            text(StatusCode::OK, &length.to_string())
        }
        "/large" => Response::new(full(vec![7; LARGE])),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            text(StatusCode::OK, "slow")
        }
        "/empty" => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        "/claims" => {
            let mut response = text(StatusCode::OK, "I am it");
            let name = request.uri().query().unwrap().to_owned();
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = hyper::header::HeaderValue::from_static("{}");
            response.headers_mut().insert(name, value);
            response
        }
        "/trailers" => {
            let mut trailers = hyper::HeaderMap::new();
            for name in [
                "x-sum",
                "x-flashbots-measurement",
                "x_flashbots_attestation_type",
            ] {
                let value = hyper::header::HeaderValue::from_static("1");
                trailers.insert(
                    hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value,
                );
            }
            let body = full("data").with_trailers(async move { Some(Ok(trailers)) });
            let mut response = Response::new(body.boxed_unsync());
            let announced = "x-sum, x-flashbots-measurement, x_flashbots_attestation_type";
            let announced = hyper::header::HeaderValue::from_static(announced);
            response.headers_mut().insert("trailer", announced);
            let chunked = hyper::header::HeaderValue::from_static("chunked");
            response.headers_mut().insert("transfer-encoding", chunked);
            response
        }
        "/received-trailers" => {
            let collected = request.into_body().collect().await.unwrap();
            let trailers = collected.trailers().cloned().unwrap_or_default();
            let names: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
            text(StatusCode::OK, &names.join(" "))
        }
        _ => text(StatusCode::OK, &format!("answer to {path}")),
    }
}

/// A proxy for clients of an attesting server: plain HTTP here, attested there.
pub(crate) fn client_service(
    server: SocketAddr,
    connector: Connector<TeeAttester, Appraiser>,
) -> Forwarder<Appraised> {
    let target: Target = format!("https://{server}").parse().unwrap();
    let upstream = Upstream::new(target, connector, quick());
    forwarder(upstream)
}

pub(crate) fn forwarder<C: attested_http::Claims>(upstream: Upstream<C>) -> Forwarder<C> {
    let settings = ForwardSettings {
        explains: true,
        request_body: None,
    };
    Forwarder::new(upstream, settings)
}

/// Passes on to a plain HTTP server.
pub(crate) fn plain_service(url: &str) -> Forwarder<Nobody> {
    forwarder(Upstream::new(url.parse().unwrap(), Unsecured, quick()))
}

/// What connections to plain servers go through in a test: some time, a failure, or nothing.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) http: Http,
    pub(crate) takes: Duration,
    pub(crate) fails: bool,
    /// How many are under way, and the most there were.
    pub(crate) under_way: Arc<Mutex<(usize, usize)>>,
}

impl Scripted {
    pub(crate) fn new(http: Http) -> Self {
        Self {
            http,
            takes: Duration::ZERO,
            fails: false,
            under_way: Arc::default(),
        }
    }
}

impl Secure<Nobody> for Scripted {
    fn secure(&self, socket: TcpStream) -> Securing<'_, Nobody> {
        Box::pin(async move {
            {
                let mut under_way = self.under_way.lock().unwrap();
                under_way.0 += 1;
                under_way.1 = under_way.1.max(under_way.0);
            }
            tokio::time::sleep(self.takes).await;
            self.under_way.lock().unwrap().0 -= 1;
            if self.fails {
                return Err(HandshakeError::Attester("no evidence today".into()));
            }
            Ok(Dialed {
                stream: Box::new(socket),
                http: self.http,
                peer: None,
            })
        })
    }
}

pub(crate) fn quick() -> ClientSettings {
    ClientSettings {
        pause: (Duration::from_millis(200), Duration::from_millis(400)),
        ..ClientSettings::default()
    }
}

/// Client proxy, server proxy, origin.
pub(crate) struct Chain {
    pub(crate) client: Running,
    pub(crate) server: Running,
    pub(crate) origin: Origin,
}

impl Chain {
    /// `node` attests to clients; clients attest as `client`, if there is one, and have to then.
    pub(crate) async fn start(
        spoken: Spoken,
        http: &[Http],
        node: &Machine,
        client: Option<&Machine>,
    ) -> Self {
        let origin = Origin::start().await;
        let clients = client.map(Machine::appraiser);
        let accepts = acceptor(Some(node), clients, http);
        let server = Running::start(accepts, plain_service(&origin.url()), loose()).await;
        let connects = connector(spoken, client, node.appraiser(), http);
        let service = client_service(server.address, connects);
        let client = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
        Self {
            client,
            server,
            origin,
        }
    }

    pub(crate) async fn simple() -> Self {
        Self::start(Spoken::Atls, H1, &Machine::dcap(), None).await
    }
}

/// Sends bytes and reads to the end; the request should say `connection: close`.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), reading);
    let _ = read.await.expect("an end of the connection");
    String::from_utf8(answer).unwrap()
}

/// A GET request with more headers, each with its line end.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    raw(address, &head).await
}

pub(crate) fn status(answer: &str) -> u16 {
    answer[9..12].parse().unwrap()
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// The value of a header in an answer, which must be there once at most.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split_once("\r\n\r\n").unwrap().0;
    let mut found = head.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = found.next();
    assert!(found.next().is_none(), "{name} twice: {head}");
    value
}

/// A client over HTTP of the version that is asked for, by prior knowledge.
pub(crate) fn to(running: &Running) -> Upstream<Nobody> {
    Upstream::new(running.url().parse().unwrap(), Unsecured, quick())
}

pub(crate) fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap()
}

pub(crate) async fn bytes(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}
