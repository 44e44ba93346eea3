//! Servers that are not there, that come back, and that break off.

use std::time::{Duration, Instant};

use attestation::tls::{Http, Nobody};
use attested_http::body::{empty, full};
use attested_http::client::{ClientSettings, Reach, Unsecured, Upstream, UpstreamError};
use attested_http::server::Unencrypted;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    H1, H2, Machine, Origin, Running, Scripted, Spoken, acceptor, body, bytes, client_service,
    connector, get, loose, plain_service, quick, request, status,
};

/// A server that does to each connection what a test says.
async fn scripted<F, T>(script: F) -> String
where
    F: Fn(usize, TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(number, stream));
        }
    });
    url
}

fn upstream(url: &str) -> Upstream<Nobody> {
    Upstream::new(url.parse().unwrap(), Unsecured, quick())
}

async fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await;
        match byte {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn down_then_back() {
    let node = Machine::dcap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let origin = Origin::start().await;
    let service = client_service(address, connector(Spoken::Atls, None, node.appraiser(), H1));
    let watched = service.upstream().clone();
    assert_eq!(watched.reach(), Reach::Untried);
    let client = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;

    let answer = get(client.address, "/", "").await;
    assert_eq!(status(&answer), 502);
    assert!(body(&answer).contains("server_not_reached"), "{answer}");
    assert!(body(&answer).contains("refused"), "{answer}");
    // Not tried for each request: the pauses are 200 and 400 ms, or down to half of that.
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(status(&get(client.address, "/", "").await), 502);
    }
    let most = 3 + started.elapsed().as_millis() as u64 / 100;
    assert!(watched.counters().dials.now() <= most);
    assert!(matches!(watched.reach(), Reach::Failing { .. }));

    let listener = TcpListener::bind(address).await.unwrap();
    let accepts = acceptor(Some(&node), None, H1);
    let service = plain_service(&origin.url());
    let server = Running::on(listener, accepts, service, loose());
    let started = Instant::now();
    while status(&get(client.address, "/", "").await) != 200 {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(watched.reach(), Reach::Reached);

    // And once more, with a connection that was kept.
    server.end().await;
    assert_eq!(status(&get(client.address, "/", "").await), 502);
}

#[tokio::test]
async fn a_dead_kept_connection_is_replaced_without_anybody_noticing() {
    // One answer on each connection, without saying so.
    let url = scripted(|_, mut stream| async move {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let upstream = upstream(&url);
    for _ in 0..5 {
        let answer = upstream.send(request("POST", "/", empty())).await.unwrap();
        assert_eq!(bytes(answer.response).await, "ok");
        // The client learns of the end while it does nothing.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(upstream.counters().dials.now(), 5);
}

#[tokio::test]
async fn only_what_may_be_repeated_is_repeated() {
    // The first connection dies of its second request, after having read it.
    let dies = |number, mut stream: TcpStream| async move {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        head(&mut stream).await;
        if number > 0 {
            stream.write_all(OK).await.unwrap();
        }
    };
    for (method, content, is_repeated) in [
        ("GET", "", true),
        ("HEAD", "", true),
        ("POST", "", false),
        ("GET", "body", false),
    ] {
        let upstream = upstream(&scripted(dies).await);
        let first = upstream.send(request("GET", "/", empty())).await.unwrap();
        bytes(first.response).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let content = if content.is_empty() {
            empty()
        } else {
            full(content)
        };
        let second = upstream.send(request(method, "/", content)).await;
        assert_eq!(second.is_ok(), is_repeated, "{method}");
        assert_eq!(upstream.counters().repeated.now(), u64::from(is_repeated));
        if let Err(error) = second {
            assert!(matches!(error, UpstreamError::Http(_)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\npart\r\n");
        let url = scripted(move |_, mut stream| {
            let answer = answer.clone();
            async move {
                head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let service = plain_service(&url);
        let proxy = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let asks = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(asks).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(status(&answer), 200);
        assert!(body(&answer).contains("part"), "{answer}");
        assert!(
            !answer.ends_with("0\r\n\r\n"),
            "it must not look whole: {answer}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_behind_both_proxies_breaks_off() {
    for http in [H1, H2] {
        let url = scripted(|_, mut stream| async move {
            head(&mut stream).await;
            let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        })
        .await;
        let node = Machine::dcap();
        let accepts = acceptor(Some(&node), None, http);
        let server = Running::start(accepts, plain_service(&url), loose()).await;
        let connects = connector(Spoken::Ratls, None, node.appraiser(), http);
        let service = client_service(server.address, connects);
        let client = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
        let answer = upstream(&client.url())
            .send(request("GET", "/", empty()))
            .await
            .unwrap();
        assert_eq!(answer.response.status(), StatusCode::OK);
        let read = http_body_util::BodyExt::collect(answer.response.into_body()).await;
        assert!(read.is_err(), "{http:?}: it must not look whole");
        // The next request finds everything in order again.
        let next = upstream(&client.url())
            .send(request("GET", "/", empty()))
            .await
            .unwrap();
        assert_eq!(next.response.status(), StatusCode::OK, "{http:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_too_slow() {
    let url = scripted(|_, mut stream| async move {
        head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let settings = ClientSettings {
        response_head: Duration::from_millis(300),
        ..quick()
    };
    let upstream = Upstream::<Nobody>::new(url.parse().unwrap(), Unsecured, settings);
    let started = Instant::now();
    let Err(error) = upstream.send(request("GET", "/", empty())).await else {
        panic!("an answer of nobody");
    };
    assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    // `localhost` is ::1 first on most machines, and this listens on 127.0.0.1 only.
    let origin = Origin::start().await;
    let url = format!("http://localhost:{}", origin.server.address.port());
    let answer = upstream(&url)
        .send(request("GET", "/", empty()))
        .await
        .unwrap();
    assert_eq!(answer.response.status(), StatusCode::OK);
    let host = format!("localhost:{}", origin.server.address.port());
    assert_eq!(origin.last().header("host"), Some(&*host));
}

#[tokio::test]
async fn kept_connections_end_when_nobody_uses_them() {
    let origin = Origin::start().await;
    let settings = ClientSettings {
        idle: Duration::from_millis(200),
        ..quick()
    };
    let upstream = Upstream::<Nobody>::new(origin.url().parse().unwrap(), Unsecured, settings);
    bytes(
        upstream
            .send(request("GET", "/", empty()))
            .await
            .unwrap()
            .response,
    )
    .await;
    assert_eq!(origin.server.counters.connections.now(), 1);
    let open = || origin.server.counters.connections.now() == 0;
    crate::support::until("the connection is gone", open).await;
}

#[tokio::test]
async fn what_went_wrong_is_not_for_strangers() {
    let settings = attested_http::forward::ForwardSettings {
        explains: false,
        request_body: Some(4),
    };
    let upstream = upstream("http://127.0.0.1:9");
    let service = attested_http::Forwarder::new(upstream, settings);
    let proxy = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
    let answer = get(proxy.address, "/", "").await;
    assert_eq!(status(&answer), 502);
    assert!(!answer.contains("127.0.0.1"), "{answer}");
    let long = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\n12345";
    assert_eq!(status(&crate::support::raw(proxy.address, long).await), 413);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_dial_for_others() {
    for http in [Http::Http1, Http::Http2] {
        let origin = Origin::start().await;
        let secure = Scripted {
            takes: Duration::from_millis(300),
            ..Scripted::new(http)
        };
        let url = origin.url().parse().unwrap();
        let upstream = Upstream::<Nobody>::new(url, secure, quick());
        let leaving = upstream.send(request("GET", "/first", empty()));
        let left = tokio::time::timeout(Duration::from_millis(100), leaving).await;
        assert!(left.is_err());
        let stays = upstream.send(request("GET", "/second", empty())).await;
        assert_eq!(bytes(stays.unwrap().response).await, "answer to /second\n");
        assert_eq!(upstream.counters().dials.now(), 1, "{http:?}");
        assert_eq!(origin.server.counters.accepted.now(), 1, "{http:?}");
    }
}

#[tokio::test]
async fn few_connections_are_made_at_the_same_time() {
    let origin = Origin::start().await;
    let secure = Scripted {
        takes: Duration::from_millis(100),
        ..Scripted::new(Http::Http1)
    };
    let under_way = std::sync::Arc::clone(&secure.under_way);
    let url = origin.url().parse().unwrap();
    let upstream = Upstream::<Nobody>::new(url, secure, quick());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let upstream = upstream.clone();
        tasks.spawn(async move {
            let answer = upstream.send(request("GET", "/slow", empty())).await;
            assert_eq!(bytes(answer.unwrap().response).await, "slow\n");
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(
        *under_way.lock().unwrap(),
        (0, ClientSettings::default().dials)
    );
}

#[tokio::test]
async fn own_faults_do_not_count_against_the_server() {
    let origin = Origin::start().await;
    let secure = Scripted {
        fails: true,
        ..Scripted::new(Http::Http1)
    };
    let first = Duration::from_millis(20);
    let settings = ClientSettings {
        pause: (first, Duration::from_secs(30)),
        ..ClientSettings::default()
    };
    let url = origin.url().parse().unwrap();
    let upstream = Upstream::<Nobody>::new(url, secure, settings);
    for _ in 0..6 {
        let failed = upstream.send(request("GET", "/", empty())).await;
        let failed = failed.err().expect("no evidence");
        assert!(
            matches!(failed, UpstreamError::Handshake { .. }),
            "{failed:?}"
        );
        let Reach::Failing { next, .. } = upstream.reach() else {
            panic!("it failed");
        };
        assert!(next <= first, "{next:?}");
        tokio::time::sleep(first).await;
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_ends() {
    let url = scripted(|_, mut stream| async move {
        head(&mut stream).await;
        let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
        stream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let settings = ClientSettings {
        requests: 1,
        response_idle: Duration::from_millis(300),
        ..quick()
    };
    let upstream = Upstream::<Nobody>::new(url.parse().unwrap(), Unsecured, settings);
    for _ in 0..2 {
        let sending = upstream.send(request("GET", "/", empty()));
        let answer = tokio::time::timeout(Duration::from_secs(5), sending).await;
        let body = answer.expect("a place").unwrap().response.into_body();
        let reading = http_body_util::BodyExt::collect(body);
        let read = tokio::time::timeout(Duration::from_secs(5), reading).await;
        assert!(read.expect("an end").is_err());
    }
}

#[tokio::test]
async fn one_client_does_not_take_all_places() {
    let url = scripted(|_, mut stream| async move {
        head(&mut stream).await;
        let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
        stream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let settings = ClientSettings {
        requests: 8,
        queue: Duration::from_millis(300),
        ..quick()
    };
    let upstream = Upstream::<Nobody>::new(url.parse().unwrap(), Unsecured, settings);
    let send = |last: u8| upstream.send_for([192, 0, 2, last].into(), request("GET", "/", empty()));
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(send(1).await.unwrap());
    }
    let refused = send(1).await;
    assert!(matches!(refused, Err(UpstreamError::Busy { .. })));
    for other in 2..4 {
        held.push(send(other).await.unwrap());
    }
}
