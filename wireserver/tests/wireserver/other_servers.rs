//! Servers that the simulated wireserver cannot be: what they send is written out here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use testkit::azure::http::{Answer, Server};

use super::*;

/// A server whose first answer is this one, and whose later answers are a wireserver's.
fn first(answer: Answer) -> (Server, Simulated) {
    let simulated = simulated(Faults::none());
    let address = SocketAddr::V4(simulated.address());
    let requests = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if requests.fetch_add(1, Ordering::SeqCst) == 0 {
            return answer.clone();
        }
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let head = head.replace("\r\nhost:", "\r\nconnection: close\r\nhost:");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(&request.body).unwrap();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        raw(body)
    });
    (server.unwrap(), simulated)
}

/// These bytes and nothing else, then the end of the connection.
fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer {
        manner: testkit::azure::http::Manner::Raw,
        ..Answer::new(200, "text/plain", bytes)
    }
}

/// Reports to that server, and says why the first attempt failed and how long the pause was.
async fn after(answer: Answer) -> (String, Duration) {
    let (server, simulated) = first(answer);
    let wireserver = Wireserver::new(&format!("http://{}", server.address()), QUICK).unwrap();
    let mut failures = Vec::new();
    let reported = wireserver
        .report(&Report::Ready, |event| {
            if let Event::Failed { error, pause, .. } = event {
                let error: &dyn std::error::Error = error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                failures.push((format!("{error}: {cause}"), pause));
            }
        })
        .await
        .unwrap();
    assert_eq!(reported.attempts, 2);
    assert_eq!(simulated.health(), Some(Health::Ready));
    let [failure] = failures.try_into().unwrap();
    failure
}

#[tokio::test]
async fn the_wireserver_is_left_alone_as_long_as_it_asks_for() {
    for (seconds, expected) in [(1, 1), (3600, 2)] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let begin = Instant::now();
            let answer =
                format!("HTTP/1.1 {status}\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n");
            let (error, pause) = after(raw(answer)).await;
            assert!(error.contains(status), "{error}");
            assert_eq!(pause, Duration::from_secs(expected));
            assert!(begin.elapsed() >= pause);
        }
    }
}

#[tokio::test]
async fn answers_that_are_no_goal_state_are_read_again() {
    let xml = "text/xml; charset=utf-8";
    for (answer, expected) in [
        (Answer::new(200, xml, ""), "there is no Incarnation"),
        (
            Answer::new(200, xml, "<GoalState/>"),
            "there is no Incarnation",
        ),
        (
            Answer::new(200, xml, "<GoalState>"),
            "an end within an element",
        ),
        (
            Answer::new(200, xml, b"\xff\xfe<".to_vec()),
            "expected UTF-8",
        ),
        (
            Answer::new(200, "text/html; charset=utf-8", "<p>"),
            "got a web page",
        ),
        (Answer::new(204, xml, ""), "there is no Incarnation"),
        (Answer::new(302, xml, ""), "got 302 Found"),
        (raw("HTTP/1.1 200 OK\r\n"), "exchange HTTP messages"),
        (raw("HTTP/9.9 200 OK\r\n\r\n"), "exchange HTTP messages"),
        (
            raw(format!(
                "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
                "x".repeat(1 << 20)
            )),
            "exchange HTTP messages",
        ),
        (
            raw(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20))),
            "expected a body of at most 65536 bytes, got more",
        ),
        (
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n<GoalState"),
            "read the answer: ",
        ),
    ] {
        let (error, _) = after(answer).await;
        assert!(error.contains(expected), "{error:?} is not {expected:?}");
    }
}

#[tokio::test]
async fn refusal_that_never_ends_is_a_refusal() {
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nnever";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let wireserver = Wireserver::new(&format!("http://{address}"), QUICK).unwrap();
    let begin = Instant::now();
    let error = wireserver.report(&Report::Ready, |_| ()).await.unwrap_err();
    assert!(
        matches!(error, ReportError::Refused { attempts: 1, .. }),
        "{error}"
    );
    assert!(begin.elapsed() < QUICK.exchange / 2);
}

/// A port where nothing listens, or may in a moment.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn network_that_comes_later_is_waited_for() {
    let simulated = simulated(Faults::none());
    let to = simulated.address();
    let address = closed_port();
    let wireserver = Wireserver::new(&format!("http://{address}"), QUICK).unwrap();
    let mut causes = Vec::new();
    let reported = wireserver
        .report(&Report::Ready, |event| {
            let Event::Failed { error, attempt, .. } = event else {
                return;
            };
            causes.push(format!("{:?}", std::error::Error::source(error)));
            match attempt {
                // Connections are reset: closed while something unread has come.
                2 => {
                    let listener = TcpListener::bind(address).unwrap();
                    thread::spawn(move || {
                        let (stream, _) = listener.accept().unwrap();
                        while stream.peek(&mut [0]).unwrap() == 0 {}
                    });
                }
                4 => {
                    let listener = TcpListener::bind(address).unwrap();
                    thread::spawn(move || relay(&listener, to.into()));
                }
                _ => {}
            }
        })
        .await
        .unwrap();
    assert!(causes[0].contains("ConnectionRefused"), "{causes:?}");
    assert!(
        causes.iter().any(|cause| cause.contains("ConnectionReset")),
        "{causes:?}"
    );
    assert!(reported.attempts >= 5);
    assert_eq!(simulated.health(), Some(Health::Ready));
}

/// Passes connections on.
fn relay(listener: &TcpListener, to: SocketAddr) {
    for client in listener.incoming() {
        let mut client = client.unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        let (mut requests, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut requests, &mut into));
        thread::spawn(move || std::io::copy(&mut server, &mut client));
    }
}

/// With Azure's schedule and a clock that jumps to the next timer.
#[tokio::test(start_paused = true)]
async fn after_twenty_minutes_it_is_given_up() {
    let address = closed_port();
    let wireserver = Wireserver::new(&format!("http://{address}"), Schedule::default()).unwrap();
    let mut pauses = Vec::new();
    let error = wireserver
        .report(&Report::Ready, |event| {
            if let Event::Failed { pause, .. } = event {
                pauses.push(pause);
            }
        })
        .await
        .unwrap_err();
    let ReportError::GaveUp {
        attempts, elapsed, ..
    } = error
    else {
        panic!("{error}");
    };
    let twenty_minutes = Duration::from_secs(20 * 60);
    assert!(
        elapsed >= twenty_minutes && elapsed < twenty_minutes * 2,
        "{elapsed:?}"
    );
    assert!((42..100).contains(&attempts), "{attempts}");
    assert!(pauses.iter().sum::<Duration>() <= twenty_minutes);
    assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
}
