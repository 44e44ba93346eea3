//! Clients that are slow, many, or malformed: they lose their own connections and nobody else's.

use std::time::{Duration, Instant};

use attestation::tls::{Http, Nobody};
use attested_http::client::Upstream;
use attested_http::server::{Limits, Unencrypted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    H2, LARGE, Machine, Origin, Running, Scripted, acceptor, body, forwarder, get, loose,
    plain_service, quick, status, until,
};

fn strict() -> Limits {
    Limits {
        request_head: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        stalled: Duration::from_millis(500),
        patience: Duration::from_millis(50),
        ..loose()
    }
}

async fn proxy(origin: &Origin, limits: Limits) -> Running {
    Running::start::<Nobody, _, _>(Unencrypted, plain_service(&origin.url()), limits).await
}

/// How long the server keeps a connection on which this was sent.
async fn kept(address: std::net::SocketAddr, bytes: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    let _ = read.await.expect("an end of the connection");
    started.elapsed()
}

#[tokio::test]
async fn who_does_not_finish_a_head_is_cut_off() {
    let origin = Origin::start().await;
    let proxy = proxy(&origin, strict()).await;
    for bytes in [
        &b""[..],
        b"G",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
    ] {
        let kept = kept(proxy.address, bytes).await;
        assert!(kept >= Duration::from_millis(250), "{kept:?} {bytes:?}");
        assert!(kept < Duration::from_secs(2), "{kept:?} {bytes:?}");
    }
    // Kept alive for longer than a head may take, and not for ever.
    let idle = kept(proxy.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        idle >= Duration::from_millis(500) && idle < Duration::from_secs(2),
        "{idle:?}"
    );
    assert_eq!(proxy.counters.idle.now(), 5);
    until("all connections are gone", || {
        proxy.counters.connections.now() == 0
    })
    .await;
}

#[tokio::test]
async fn a_head_byte_by_byte_has_one_limit() {
    let origin = Origin::start().await;
    let proxy = proxy(&origin, strict()).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let started = Instant::now();
    // One byte after the other, each well within any limit.
    while stream.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn who_stops_sending_a_body_is_cut_off_and_the_origin_learns_of_it() {
    let origin = Origin::start().await;
    let proxy = proxy(&origin, strict()).await;
    let head = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart";
    let kept = kept(proxy.address, head).await;
    assert!(
        kept >= Duration::from_millis(400) && kept < Duration::from_secs(5),
        "{kept:?}"
    );
    assert_eq!(origin.count(), 1);
    until("the request has ended", || {
        origin.server.counters.requests_open.now() == 0
    })
    .await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let origin = Origin::start().await;
    let proxy = proxy(&origin, strict()).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let size = 64 << 20;
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![0; 1 << 16];
    let started = Instant::now();
    while stream.write_all(&chunk).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    until("it is gone", || proxy.counters.connections.now() == 0).await;
    assert_eq!(proxy.counters.requests_open.now(), 0);
}

#[tokio::test]
async fn slow_clients_do_not_hold_others_up() {
    let origin = Origin::start().await;
    let limits = Limits {
        connections: 40,
        connections_per_peer: 40,
        ..strict()
    };
    let proxy = proxy(&origin, limits).await;
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        slow.push(stream);
    }
    until("all places are taken", || {
        proxy.counters.connections.now() == 40
    })
    .await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let answer = get(proxy.address, "/", "").await;
    assert_eq!((status(&answer), body(&answer)), (200, "answer to /\n"));
    assert!(proxy.counters.evicted.now() >= 1);
}

#[tokio::test]
async fn heads_have_a_size() {
    let origin = Origin::start().await;
    let proxy = proxy(
        &origin,
        Limits {
            head_bytes: 8192,
            headers: 32,
            ..loose()
        },
    )
    .await;
    let long = format!("x: {}\r\n", "y".repeat(9000));
    assert_eq!(status(&get(proxy.address, "/", &long).await), 431);
    let many: String = (0..40).map(|n| format!("x{n}: y\r\n")).collect();
    assert_eq!(status(&get(proxy.address, "/", &many).await), 431);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn strangers_on_an_attested_port_are_counted_and_gone() {
    let origin = Origin::start().await;
    let accepts = acceptor(Some(&Machine::dcap()), None, H2);
    let server = Running::start(accepts, plain_service(&origin.url()), loose()).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x00\x05hello",
        &[0; 100],
    ] {
        assert!(kept(server.address, bytes).await < Duration::from_secs(2));
    }
    until("three were counted", || {
        server.counters.handshakes_broken.now() == 3
    })
    .await;
    assert_eq!(server.counters.requests.now(), 0);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let origin = Origin::start().await;
    let proxy = proxy(&origin, loose()).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut frames = Vec::new();
    for stream in (1_u32..4001).step_by(2) {
        // GET / with scheme http and authority x, and the reset of it (CANCEL).
        frames.extend(b"\0\0\x06\x01\x05");
        frames.extend(stream.to_be_bytes());
        frames.extend(b"\x82\x84\x86\x41\x01x");
        frames.extend(b"\0\0\x04\x03\0");
        frames.extend(stream.to_be_bytes());
        frames.extend(8_u32.to_be_bytes());
    }
    let _ = stream.write_all(&frames).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    let _ = read.await.expect("an end of the connection");
    until("it is gone", || proxy.counters.connections.now() == 0).await;
    assert!(origin.count() < 200, "{}", origin.count());
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The next one's kind, flags, stream and payload.
async fn next_frame(stream: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; size as usize];
    stream.read_exact(&mut payload).await.unwrap();
    let number = u32::from_be_bytes(head[5..9].try_into().unwrap());
    (head[3], head[4], number, payload)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

/// Says that answers get a window of `window` bytes.
async fn http2(proxy: &Running, window: u32) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let initial_window = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    opening.extend(frame(SETTINGS, 0, 0, &initial_window));
    stream.write_all(&opening).await.unwrap();
    stream
}

/// Asks for /large.
fn asks(number: u32) -> Vec<u8> {
    frame(HEADERS, 5, number, b"\x82\x86\x41\x01x\x04\x06/large")
}

/// A proxy whose own connections are of this version.
async fn proxy_to(origin: &Origin, http: Http) -> Running {
    let url = origin.url().parse().unwrap();
    let upstream = Upstream::<Nobody>::new(url, Scripted::new(http), quick());
    Running::start::<Nobody, _, _>(Unencrypted, forwarder(upstream), strict()).await
}

#[tokio::test]
async fn who_gives_an_answer_no_window_does_not_keep_it() {
    for http in [Http::Http1, Http::Http2] {
        let origin = Origin::start().await;
        let proxy = proxy_to(&origin, http).await;
        let mut stream = http2(&proxy, 0).await;
        let started = Instant::now();
        stream.write_all(&asks(1)).await.unwrap();
        let reset = async {
            loop {
                let (kind, _, number, _) = next_frame(&mut stream).await;
                assert_ne!(kind, DATA);
                if (kind, number) == (RST_STREAM, 1) {
                    return;
                }
            }
        };
        let reset = tokio::time::timeout(Duration::from_secs(5), reset).await;
        reset.expect("the end of the request");
        assert!(started.elapsed() >= Duration::from_millis(450), "{http:?}");
        assert_eq!(proxy.counters.stalled.now(), 1);
        for server in [&proxy, &origin.server] {
            let ended = || server.counters.requests_open.now() == 0;
            until("the request has ended", ended).await;
        }
        // The connection is there for the next request, which gets a window.
        let mut next = asks(3);
        let window = u32::try_from(LARGE).unwrap().to_be_bytes();
        next.extend(frame(WINDOW_UPDATE, 0, 3, &window));
        next.extend(frame(WINDOW_UPDATE, 0, 0, &window));
        stream.write_all(&next).await.unwrap();
        assert_eq!(data(&mut stream, 3, Duration::ZERO).await, LARGE);
    }
}

/// How much data comes of an answer. If it takes a time, some window is given each time.
async fn data(stream: &mut TcpStream, number: u32, each: Duration) -> usize {
    let mut size = 0;
    loop {
        let (kind, flags, of, payload) = next_frame(stream).await;
        assert_ne!((kind, of), (RST_STREAM, number), "after {size} bytes");
        if (kind, of) != (DATA, number) {
            continue;
        }
        size += payload.len();
        if flags & 1 == 1 {
            return size;
        }
        if !each.is_zero() && !payload.is_empty() {
            tokio::time::sleep(each).await;
            let window = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let more = [0, number].map(|of| frame(WINDOW_UPDATE, 0, of, &window));
            stream.write_all(&more.concat()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_takes_an_answer_slowly_gets_it() {
    let limits = Limits {
        stalled: Duration::from_millis(500),
        ..loose()
    };
    let size = 200_000;
    let service =
        move |_, _| async move { hyper::Response::new(attested_http::body::full(vec![7; size])) };
    let server = Running::start::<Nobody, _, _>(Unencrypted, service, limits).await;
    let mut stream = http2(&server, 16 << 10).await;
    stream.write_all(&asks(1)).await.unwrap();
    let started = Instant::now();
    // In one piece it would be longer than `stalled` until it is all taken.
    let each = Duration::from_millis(100);
    assert_eq!(data(&mut stream, 1, each).await, size);
    assert!(started.elapsed() > Duration::from_secs(1));
    assert_eq!(server.counters.stalled.now(), 0);
}
