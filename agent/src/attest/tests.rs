//! The server against clients of every kind, on loopback, with shorter limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::identity::Identity;
use super::limits::Limits;
use super::server::Server;

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SOON: Duration = Duration::from_millis(200);
const NEVER: Duration = Duration::from_secs(60);

/// Far more than anything here should take, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that no test reaches by accident.
fn generous() -> Limits {
    Limits {
        handshake: NEVER,
        request_head: NEVER,
        lifetime: NEVER,
        notice: Duration::ZERO,
        drain: NEVER,
        connections: 100,
        connections_per_peer: 100,
    }
}

struct Running {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    alive: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    /// Ends with the number of connections that were cut.
    task: JoinHandle<usize>,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind((HOME, 0)).await.unwrap();
        let identity = Identity::generate(&[]).unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = identity.certified().cert[0].clone();
        let server = Server::new(listener, &identity, limits).unwrap();
        let alive = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel::<()>();
        let turns = Arc::clone(&alive);
        let task = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            let watchdog = Some(Duration::from_millis(90));
            let count = || _ = turns.fetch_add(1, Ordering::Relaxed);
            server.run(stopped, watchdog, count).await.finish().await
        });
        Self {
            address,
            certificate,
            alive,
            stop,
            task,
        }
    }

    async fn tcp(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn tls(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let config = client(&self.certificate, rustls::DEFAULT_VERSIONS);
        self.tls_with(&Arc::new(config), from).await
    }

    async fn tls_with(
        &self,
        config: &Arc<ClientConfig>,
        from: Ipv4Addr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(IpAddr::V4(HOME).into());
        let tcp = self.tcp(from).await;
        TlsConnector::from(Arc::clone(config))
            .connect(name, tcp)
            .await
    }

    /// Fails if the server does not serve a well-behaved client from `from` at once.
    async fn assert_serves(&self, from: Ipv4Addr) {
        let asked = timeout(PATIENCE, async {
            let mut stream = self.tls(from).await.unwrap();
            ask(&mut stream, "GET", "/healthz").await
        });
        assert!(asked.await.unwrap().starts_with("HTTP/1.1 200"));
    }

    async fn stop(self) -> usize {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

/// A client that trusts exactly this certificate.
fn client(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: node\r\n\r\n")
}

async fn ask(stream: &mut TlsStream<TcpStream>, method: &str, path: &str) -> String {
    stream
        .write_all(request(method, path).as_bytes())
        .await
        .unwrap();
    response(stream, method).await
}

/// Reads one response, head and body.
async fn response(stream: &mut TlsStream<TcpStream>, method: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = match length {
        Some(length) if method != "HEAD" => vec![0; length.parse().unwrap()],
        _ => Vec::new(),
    };
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// What comes until the server closes.
async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well as an end of file does.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("server never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn certificate_is_its_own_trust_anchor_in_both_versions() {
    let server = Running::start(generous()).await;
    for (version, number) in [
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let config = Arc::new(client(&server.certificate, &[version]));
        let mut stream = server.tls_with(&config, HOME).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
        let body = ask(&mut stream, "GET", "/cert").await;
        assert!(body.contains("-----BEGIN CERTIFICATE-----"));
        assert!(
            ask(&mut stream, "HEAD", "/cert")
                .await
                .ends_with("\r\n\r\n")
        );
    }
}

#[tokio::test]
async fn another_nodes_certificate_is_not_trusted() {
    let server = Running::start(generous()).await;
    let other = Identity::generate(&[]).unwrap();
    let config = Arc::new(client(&other.certified().cert[0], rustls::DEFAULT_VERSIONS));
    assert!(server.tls_with(&config, HOME).await.is_err());
}

#[tokio::test]
async fn no_session_is_resumed() {
    let server = Running::start(generous()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = client(&server.certificate, &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for _ in 0..3 {
            let mut stream = server.tls_with(&config, HOME).await.unwrap();
            ask(&mut stream, "GET", "/healthz").await;
            assert_eq!(
                stream.get_ref().1.handshake_kind(),
                Some(HandshakeKind::Full)
            );
        }
    }
}

#[tokio::test]
async fn alpn_is_http1() {
    let server = Running::start(generous()).await;
    let mut config = client(&server.certificate, rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = server
        .tls_with(&Arc::new(config.clone()), HOME)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));

    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(server.tls_with(&Arc::new(config), HOME).await.is_err());
}

#[tokio::test]
async fn slow_handshake_is_cut_and_blocks_nobody() {
    let server = Running::start(Limits {
        handshake: SOON,
        ..generous()
    })
    .await;
    let mut slow = server.tcp(HOME).await;
    // The start of a ClientHello that never goes on.
    slow.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    let silent = server.tcp(HOME).await;
    server.assert_serves(HOME).await;
    for stream in [slow, silent] {
        rest(stream).await;
    }
}

#[tokio::test]
async fn handshake_byte_by_byte_is_cut() {
    let server = Running::start(Limits {
        handshake: SOON,
        ..generous()
    })
    .await;
    let start = Instant::now();
    let mut slow = server.tcp(HOME).await;
    // A record of 512 bytes, in it a ClientHello of 508.
    slow.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])
        .await
        .unwrap();
    while slow.write_all(&[0]).await.is_ok() {
        assert!(start.elapsed() < PATIENCE);
        sleep(SOON / 10).await;
    }
    assert!(start.elapsed() >= SOON);
}

#[tokio::test]
async fn slow_request_is_cut_and_blocks_nobody() {
    let server = Running::start(Limits {
        request_head: SOON,
        ..generous()
    })
    .await;
    let start = Instant::now();
    let mut slow = server.tls(HOME).await.unwrap();
    slow.write_all(b"GET /cert HTTP/1.1\r\nX: ").await.unwrap();
    server.assert_serves(HOME).await;
    while slow.write_all(b"x").await.is_ok() {
        assert!(start.elapsed() < PATIENCE);
        sleep(SOON / 10).await;
    }
    assert!(start.elapsed() >= SOON);
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = Running::start(Limits {
        request_head: SOON,
        ..generous()
    })
    .await;
    let fresh = server.tls(HOME).await.unwrap();
    let mut kept = server.tls(HOME).await.unwrap();
    ask(&mut kept, "GET", "/healthz").await;
    for stream in [fresh, kept] {
        rest(stream).await;
    }
}

#[tokio::test]
async fn busy_connection_ends_with_its_lifetime() {
    let server = Running::start(Limits {
        lifetime: 2 * SOON,
        ..generous()
    })
    .await;
    let start = Instant::now();
    let mut busy = server.tls(HOME).await.unwrap();
    let healthz = request("GET", "/healthz");
    let mut answer = [0; 512];
    while busy.write_all(healthz.as_bytes()).await.is_ok()
        && busy.read(&mut answer).await.is_ok_and(|length| length > 0)
    {
        assert!(start.elapsed() < PATIENCE);
        sleep(SOON / 10).await;
    }
    assert!(start.elapsed() >= 2 * SOON);
}

#[tokio::test]
async fn requests_without_reading_end_with_the_lifetime() {
    let server = Running::start(Limits {
        lifetime: 2 * SOON,
        ..generous()
    })
    .await;
    let mut deaf = server.tls(HOME).await.unwrap();
    let many = request("GET", "/cert").repeat(100);
    let start = Instant::now();
    while deaf.write_all(many.as_bytes()).await.is_ok() {
        assert!(start.elapsed() < PATIENCE);
    }
    server.assert_serves(HOME).await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = Running::start(generous()).await;
    let long = format!("GET /cert HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many = format!("GET /cert HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(40));
    for head in [long, many] {
        let mut stream = server.tls(HOME).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_are_refused_unread() {
    let server = Running::start(generous()).await;
    for header in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut stream = server.tls(HOME).await.unwrap();
        let head = format!("GET /cert HTTP/1.1\r\nHost: node\r\n{header}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(
            answer.contains("{\"code\":\"body_not_accepted\""),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_or_tls_is_refused() {
    let server = Running::start(generous()).await;
    let mut plain = server.tcp(HOME).await;
    plain
        .write_all(request("GET", "/cert").as_bytes())
        .await
        .unwrap();
    let answer = rest(plain).await;
    assert!(!answer.contains("CERTIFICATE"));

    let mut noise = server.tls(HOME).await.unwrap();
    noise.write_all(b"\0\x01\x02\r\n\r\n").await.unwrap();
    let answer = rest(noise).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_peer_at_its_share_leaves_others_theirs() {
    let server = Running::start(Limits {
        connections_per_peer: 3,
        ..generous()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.tls(ELSEWHERE).await.unwrap());
    }
    assert!(server.tls(ELSEWHERE).await.is_err());
    server.assert_serves(HOME).await;

    drop(held.pop());
    let retry = async {
        while server.tls(ELSEWHERE).await.is_err() {
            sleep(SOON / 10).await;
        }
    };
    timeout(PATIENCE, retry)
        .await
        .expect("the place was not given back");
}

#[tokio::test]
async fn a_flood_is_bounded_and_passes() {
    let most = 20;
    let server = Running::start(Limits {
        connections: most,
        handshake: 15 * SOON,
        ..generous()
    })
    .await;
    let mut flood = Vec::new();
    for host in 1..=200 {
        flood.push(server.tcp(Ipv4Addr::new(127, 0, 1, host)).await);
    }
    sleep(SOON).await;
    let mut is_open = 0;
    for stream in &mut flood {
        is_open += usize::from(
            timeout(Duration::from_millis(1), stream.read_u8())
                .await
                .is_err(),
        );
    }
    assert_eq!(is_open, most);

    for stream in flood {
        rest(stream).await;
    }
    server.assert_serves(HOME).await;
}

#[tokio::test]
async fn draining_tells_kept_connections_and_closes_them() {
    let server = Running::start(Limits {
        notice: NEVER,
        drain: NEVER,
        ..generous()
    })
    .await;
    let mut kept = server.tls(HOME).await.unwrap();
    assert!(
        ask(&mut kept, "GET", "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );

    server.stop.send(()).unwrap();
    sleep(SOON).await;
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "still accepts");
    let answer = ask(&mut kept, "GET", "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(rest(kept).await, "");
    assert_eq!(timeout(PATIENCE, server.task).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn draining_closes_idle_connections_and_handshakes_after_the_notice() {
    let server = Running::start(Limits {
        notice: SOON,
        ..generous()
    })
    .await;
    let mut idle = server.tls(HOME).await.unwrap();
    ask(&mut idle, "GET", "/healthz").await;
    let _handshake = server.tcp(HOME).await;
    sleep(SOON / 2).await;
    assert_eq!(server.stop().await, 0);
    assert_eq!(rest(idle).await, "");
}

#[tokio::test]
async fn draining_finishes_the_request_under_way() {
    let server = Running::start(generous()).await;
    let mut stream = server.tls(HOME).await.unwrap();
    stream.write_all(b"GET /cert HTTP/1.1\r\nHo").await.unwrap();
    sleep(SOON).await;
    server.stop.send(()).unwrap();
    sleep(SOON).await;
    stream.write_all(b"st: node\r\n\r\n").await.unwrap();
    assert!(
        response(&mut stream, "GET")
            .await
            .contains("BEGIN CERTIFICATE")
    );
    assert_eq!(timeout(PATIENCE, server.task).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn draining_cuts_what_does_not_end() {
    let server = Running::start(Limits {
        drain: SOON,
        ..generous()
    })
    .await;
    let mut stuck = server.tls(HOME).await.unwrap();
    stuck.write_all(b"GET /cert HTTP/1.1\r\nHo").await.unwrap();
    sleep(SOON).await;
    assert_eq!(server.stop().await, 1);
}

#[tokio::test]
async fn without_connections_draining_takes_no_time() {
    let server = Running::start(Limits {
        notice: NEVER,
        ..generous()
    })
    .await;
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn the_loop_feeds_the_watchdog_while_it_turns() {
    let server = Running::start(generous()).await;
    sleep(3 * SOON).await;
    let before = server.alive.load(Ordering::Relaxed);
    assert!(before >= 6, "{before} in {:?}", 3 * SOON);

    // A thread that hangs starves it: no separate timer feeds on.
    std::thread::sleep(3 * SOON);
    assert_eq!(server.alive.load(Ordering::Relaxed), before);
}
