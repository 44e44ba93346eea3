//! How a server ends: what is under way may end, and only so long.

use std::time::{Duration, Instant};

use attestation::tls::Nobody;
use attested_http::body::empty;
use attested_http::server::{Cut, Limits, Server, Unencrypted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Chain, H1, H2, Machine, Origin, Running, Spoken, body, bytes, get, header, loose,
    plain_service, request, status, to, until,
};

#[tokio::test]
async fn a_request_under_way_is_answered() {
    for http in [H1, H2] {
        let mut chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let address = chain.client.address;
        let asking = tokio::spawn(async move { get(address, "/slow", "").await });
        until("it is at the origin", || chain.origin.count() == 1).await;
        chain.client.stop();
        chain.server.stop();
        let answer = asking.await.unwrap();
        assert_eq!(
            (status(&answer), body(&answer)),
            (200, "slow\n"),
            "{http:?}"
        );
        assert!(
            TcpStream::connect(address).await.is_err(),
            "the listening socket is closed"
        );
        assert_eq!(chain.client.end().await, Cut::default());
        assert_eq!(chain.server.end().await, Cut::default());
    }
}

#[tokio::test]
async fn a_kept_connection_has_one_more_answer_and_ends() {
    let origin = Origin::start().await;
    let limits = Limits {
        notice: Duration::from_secs(2),
        ..loose()
    };
    let service = plain_service(&origin.url());
    let mut proxy = Running::start::<Nobody, _, _>(Unencrypted, service, limits).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    until("the request is over", || {
        proxy.counters.requests_open.now() == 0
    })
    .await;
    proxy.stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream.write_all(head).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    let second = &rest[rest.find("HTTP/1.1 200").unwrap()..];
    assert_eq!(header(second, "connection"), Some("close"));
    assert_eq!(proxy.end().await, Cut::default());
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end_up() {
    for http in [H1, H2] {
        let chain = Chain::start(Spoken::Ratls, http, &Machine::dcap(), None).await;
        let client = to(&chain.client);
        bytes(
            client
                .send(request("GET", "/", empty()))
                .await
                .unwrap()
                .response,
        )
        .await;
        let started = Instant::now();
        assert_eq!(chain.server.end().await, Cut::default());
        assert_eq!(chain.client.end().await, Cut::default());
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn a_connection_has_a_lifetime_if_it_is_to() {
    for http in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let origin = Origin::start().await;
        let limits = Limits {
            lifetime: Some(Duration::from_millis(300)),
            ..loose()
        };
        let service = plain_service(&origin.url());
        let proxy = Running::start::<Nobody, _, _>(Unencrypted, service, limits).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(http).await.unwrap();
        if http.is_empty() {
            let head = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
            stream.write_all(head).await.unwrap();
        }
        let started = Instant::now();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
        if http.is_empty() {
            let answer = String::from_utf8(answer).unwrap();
            assert_eq!(body(&answer), "slow\n", "what was under way is answered");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_fed_by_the_loop_that_accepts() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = plain_service("http://127.0.0.1:9");
    let server = Server::<Nobody, _, _>::new(listener, Unencrypted, service, loose());
    let mut fed = 0;
    let stop = tokio::time::sleep(Duration::from_millis(310));
    let watchdog = Some(Duration::from_millis(100));
    let draining = server.run(stop, watchdog, || fed += 1).await;
    assert!((8..=11).contains(&fed), "{fed} times in three intervals");
    assert_eq!(draining.connections(), 0);
    assert_eq!(draining.finish().await, Cut::default());
}

#[tokio::test]
async fn what_does_not_end_is_cut_and_counted() {
    let origin = Origin::start().await;
    // The connection would end by itself after both together; cut it is after the latter.
    let limits = Limits {
        notice: Duration::from_millis(300),
        drain: Duration::from_millis(400),
        ..loose()
    };
    let service = plain_service(&origin.url());
    let mut proxy = Running::start::<Nobody, _, _>(Unencrypted, service, limits).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart";
    stream.write_all(head).await.unwrap();
    until("it is at the origin", || origin.count() == 1).await;
    let started = Instant::now();
    proxy.stop();
    let cut = proxy.end().await;
    assert_eq!((cut.connections, cut.requests), (1, 1));
    assert!(started.elapsed() < Duration::from_secs(2));
}
