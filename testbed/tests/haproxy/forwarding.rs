//! What gets through, and as what.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, plain, settings};
use crate::limits::PLENTY;
use crate::proxy::{Proxy, limited, wait};
use crate::rendered::sample;
use crate::upstream::Upstream;

const ME: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);

#[test]
fn both_ports_show_the_certificate_by_tls_1_3_only_and_lead_to_their_upstreams() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start_before(&limited(&PLENTY, &[]), None);
    let other = crate::proxy::certificate().0;
    for (port, upstream) in [
        (proxy.user, proxy.user_upstream),
        (proxy.system, proxy.system_upstream),
    ] {
        let connect = |version| Client::connect_by(version, ME, port, &proxy.certificate);
        assert!(connect(&rustls::version::TLS12).is_err());
        assert!(Client::connect(ME, port, &other).is_err());
        // Plain text gets no answer in plain text.
        let mut stream = plain(ME, port).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

        let mut client = connect(&rustls::version::TLS13).unwrap();
        let answer = client.get().unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.body, "the service behind this is not up\n");
        let upstream = Upstream::start(upstream, Duration::ZERO);
        wait(|| {
            let mut client = connect(&rustls::version::TLS13).unwrap();
            client.get().unwrap().status == 200
        });
        drop(upstream);
        // Those that were idle are its; new ones are refused.
        wait(|| {
            let mut client = connect(&rustls::version::TLS13).unwrap();
            client.get().unwrap().status == 503
        });
    }
}

/// Who resumed a session would not notice that the certificate is another by now.
#[test]
fn whoever_comes_again_is_shown_the_certificate_again() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&limited(&PLENTY, &[]));
    for port in [proxy.user, proxy.system] {
        let settings = settings(&rustls::version::TLS13, &proxy.certificate);
        for _ in 0..3 {
            let mut client = Client::connect_as(Arc::clone(&settings), ME, port).unwrap();
            assert!(client.was_shown_the_certificate());
            // What a server offers for the next time comes with its first answer.
            assert_eq!(client.get().unwrap().status, 200);
        }
    }
}

#[test]
fn an_upstream_is_told_who_asks_and_nobody_else_can_say_so() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&sample());
    for port in [proxy.user, proxy.system] {
        let mut client = Client::connect(ME, port, &proxy.certificate).unwrap();
        let forged =
            b"POST /x?y HTTP/1.1\r\nHost: node.example\r\nX-Forwarded-For: 203.0.113.1\r\n\
            x-forwarded-for: 203.0.113.2, 203.0.113.3\r\nForwarded: for=203.0.113.4\r\n\
            X-Forwarded-Host: forged\r\nX-Real-IP: 203.0.113.5\r\nX-Forwarded-Proto: http\r\n\
            X-Flashbots-Measurement: forged\r\nX-Flashbots-Attestation-Type: forged\r\n\
            X-Flashbots-Signature: 0x1:0x2\r\nConnection: keep-alive, X-Forwarded-For\r\n\
            Content-Length: 2\r\n\r\n{}";
        client.send(forged).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 200);
        let told = answer.body;
        assert!(told.starts_with("post /x?y http/1.1\r\n"), "{told}");
        assert_eq!(told.matches("forwarded").count(), 2, "{told}");
        assert!(
            told.contains("\r\nx-forwarded-for: 127.1.2.3\r\n"),
            "{told}"
        );
        assert!(told.contains("\r\nx-forwarded-proto: https\r\n"), "{told}");
        assert!(
            told.contains("\r\nx-flashbots-signature: 0x1:0x2\r\n"),
            "{told}"
        );
        assert!(
            !told.contains("forged") && !told.contains("203.0.113"),
            "{told}"
        );
    }
}

#[test]
fn what_could_be_read_in_two_ways_or_has_no_end_is_refused() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&sample());
    let many = "a: b\r\n".repeat(65);
    let long = format!("a: {}\r\n", "b".repeat(20_000));
    for (at, (request, status)) in [
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            411,
        ),
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        ("Content-Length: 0x2\r\n\r\n{}", 400),
        ("Content-Length : 2\r\n\r\n{}", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("\r\n", 200),
        (
            "X_Forwarded_For: 203.0.113.1\r\nContent-Length: 2\r\n\r\n{}",
            403,
        ),
        ("a: b\nc: d\r\nContent-Length: 2\r\n\0\r\n\r\n{}", 400),
        (&format!("{many}Content-Length: 2\r\n\r\n{{}}"), 400),
        (&format!("{long}Content-Length: 2\r\n\r\n{{}}"), 400),
        ("Content-Length: 31457281\r\n\r\n{}", 413),
        ("Content-Length: 4294967297\r\n\r\n{}", 413),
        ("Content-Length: 2\r\n\r\n{}", 200),
    ]
    .into_iter()
    .enumerate()
    {
        for port in [proxy.user, proxy.system] {
            // Each from an address of its own: there are limits.
            let me = Ipv4Addr::new(127, 1, 3, u8::try_from(at).unwrap());
            let mut client = Client::connect(me, port, &proxy.certificate).unwrap();
            let head = "POST / HTTP/1.1\r\nHost: node.example\r\n";
            client.send(format!("{head}{request}").as_bytes()).unwrap();
            let answer = client.answer().unwrap();
            assert_eq!(answer.status, status, "{request}");
        }
    }
}

/// The same by HTTP/2, in which a body need not say how long it is.
#[test]
fn http_2_is_no_way_around() {
    if !crate::is_there() || !testkit::needed::programs(&["curl"]) {
        return;
    }
    let proxy = Proxy::start(&limited(&PLENTY, &[]));
    let ask = |options: &[&str]| {
        let mut curl = Command::new("curl")
            .args(["--silent", "--insecure", "--http2", "--noproxy", "*"])
            .args(["--write-out", "%{http_version} %{http_code}"])
            .args(options)
            .arg(format!("https://{}/", proxy.user))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(b"{}").unwrap();
        String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap()
    };
    let told = ask(&["--data", "{}", "--header", "X-Forwarded-For: 203.0.113.1"]);
    assert!(told.ends_with("2 200"), "{told}");
    assert_eq!(told.matches("forwarded-for: ").count(), 1, "{told}");
    assert!(!told.contains("203.0.113"), "{told}");
    for method in ["GET", "POST", "DELETE"] {
        let answer = ask(&["--request", method, "--upload-file", "-"]);
        assert!(answer.ends_with("2 411"), "{method}: {answer}");
    }
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large");
    fs::File::create(&large)
        .unwrap()
        .set_len((30 << 20) + 1)
        .unwrap();
    let answer = ask(&["--data-binary", &format!("@{}", large.display())]);
    assert!(answer.ends_with("2 413"), "{answer}");
}

/// Whoever says nothing, or says it slowly, is not waited for.
#[test]
fn slow_clients_are_cut() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&sample());
    let connect = || Client::connect(ME, proxy.user, &proxy.certificate).unwrap();
    let most = Duration::from_secs(20);
    // One after another would take too long.
    let (mut head, mut body, mut nothing) = (connect(), connect(), connect());
    let mut silent: TcpStream = plain(ME, proxy.user).unwrap();
    let begun = Instant::now();
    head.send(b"POST / HTTP/1.1\r\nHost: node.example\r\n")
        .unwrap();
    body.send(b"POST / HTTP/1.1\r\nHost: node.example\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    let no_handshake = thread::spawn(move || {
        silent.set_read_timeout(Some(most)).unwrap();
        (silent.read(&mut [0]).unwrap_or(0), begun.elapsed())
    });
    let no_request = thread::spawn(move || nothing.answer().map_or(0, |it| it.status));
    for _ in 0..8 {
        // What trickles in does not help.
        thread::sleep(Duration::from_secs(1));
        head.send(b"a").unwrap();
        body.send(b"a").unwrap();
    }
    assert_eq!(head.answer().unwrap().status, 408);
    assert_eq!(body.answer().unwrap().status, 408);
    // Nothing of a request: the connection ends, with or without saying so.
    assert!([0, 408].contains(&no_request.join().unwrap()));
    let (read, after) = no_handshake.join().unwrap();
    assert!(
        read == 0 && after < Duration::from_secs(10),
        "{read} {after:?}"
    );
    assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
}

#[test]
fn metrics_and_health_are_inside() {
    if !crate::is_there() {
        return;
    }
    let proxy = Proxy::start(&sample());
    let ask = |stream: &mut dyn ReadWrite, path: &str| {
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let mut metrics = TcpStream::connect(proxy.metrics).unwrap();
    let answer = ask(&mut metrics, "/metrics");
    assert!(answer.contains("haproxy_frontend_requests_denied_total{proxy=\"user\"}"));
    let mut other = TcpStream::connect(proxy.metrics).unwrap();
    assert!(ask(&mut other, "/").contains(" 404 "));
    let mut health = std::os::unix::net::UnixStream::connect(proxy.path("health.sock")).unwrap();
    assert!(ask(&mut health, "/").ends_with("\r\n\r\nok\n"));
}

trait ReadWrite: Read + std::io::Write {}
impl<T: Read + std::io::Write> ReadWrite for T {}
