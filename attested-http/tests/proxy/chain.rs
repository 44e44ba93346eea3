//! From a client to an origin and back, over both protocols and both versions of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use attestation::EvidenceKind;
use attestation::tls::Nobody;
use attested_http::BoxError;
use attested_http::body::{empty, full};
use attested_http::server::Unencrypted;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Bytes, Frame};

use crate::support::{
    BOTH, Chain, H1, H2, Machine, Origin, Running, Spoken, acceptor, body, bytes, client_service,
    connector, get, header, loose, plain_service, raw, request, status, to,
};

#[tokio::test]
async fn requests_and_answers_pass_over_every_protocol_and_version() {
    for spoken in BOTH {
        for http in [H1, H2] {
            for machine in [Machine::azure(), Machine::dcap()] {
                let chain = Chain::start(spoken, http, &machine, None).await;
                let client = to(&chain.client);
                let answer = client.send(request("GET", "/cert?x=1", empty())).await;
                let answer = answer.unwrap().response;
                assert_eq!(answer.status(), StatusCode::OK);
                let expected = spoken.type_of(machine.kind);
                assert_eq!(answer.headers()["x-flashbots-attestation-type"], expected);
                let registers = answer.headers()["x-flashbots-measurement"].clone();
                assert_eq!(registers, machine.header());
                assert_eq!(bytes(answer).await, "answer to /cert\n");
                let seen = chain.origin.last();
                assert_eq!((&*seen.method, &*seen.uri), ("GET", "/cert?x=1"));
                let origin = chain.origin.server.address.to_string();
                assert_eq!(seen.header("host"), Some(&*origin));
                assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1, 127.0.0.1"));
                assert_eq!(
                    seen.header("x-flashbots-measurement"),
                    None,
                    "client proves nothing"
                );

                let answer = client.send(request("POST", "/echo", full("posted"))).await;
                assert_eq!(bytes(answer.unwrap().response).await, "posted");
                assert_eq!(chain.origin.last().header("content-length"), Some("6"));
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_proves_reaches_the_origin() {
    for spoken in BOTH {
        for kind in EvidenceKind::ALL {
            let (node, machine) = (Machine::dcap(), Machine::new(7, kind));
            let chain = Chain::start(spoken, H2, &node, Some(&machine)).await;
            let answer = get(chain.client.address, "/", "").await;
            assert_eq!(status(&answer), 200, "{answer}");
            let seen = chain.origin.last();
            let kind = Some(spoken.type_of(kind));
            assert_eq!(seen.header("x-flashbots-attestation-type"), kind);
            let registers = machine.header();
            assert_eq!(seen.header("x-flashbots-measurement"), Some(&*registers));
            assert_eq!(
                header(&answer, "x-flashbots-measurement"),
                Some(&*node.header())
            );
        }
    }
}

#[tokio::test]
async fn types_are_spelled_as_each_protocols_tools_do() {
    let spelled = BOTH.map(|spoken| spoken.type_of(EvidenceKind::DcapTdx));
    assert_eq!(spelled, ["qemu-tdx", "dcap-tdx"]);
}

#[tokio::test]
async fn a_node_with_another_image_is_refused_with_the_reason() {
    for spoken in BOTH {
        let (node, origin) = (Machine::dcap(), Origin::start().await);
        let accepts = acceptor(Some(&node), None, H1);
        let server = Running::start(accepts, plain_service(&origin.url()), loose()).await;
        let mut registers = node.registers();
        let actual = registers["1"].clone();
        registers.insert("1".to_owned(), "ab".repeat(48));
        let other = node.appraiser_of("published image", registers);
        let service = client_service(server.address, connector(spoken, None, other, H1));
        let client = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
        let answer = get(client.address, "/", "").await;
        assert_eq!(status(&answer), 502);
        for part in [
            "server_not_trusted",
            "published image",
            "register 1 is",
            &actual,
        ] {
            assert!(body(&answer).contains(part), "{part}: {answer}");
        }
        assert_eq!(origin.count(), 0);
        // Until the next try the same reason, at once, and when that will be.
        let again = get(client.address, "/", "").await;
        assert_eq!(status(&again), 502);
        assert!(
            body(&again).contains("server_not_tried") && again.contains(&actual),
            "{again}"
        );
        assert_eq!(header(&again, "retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_client_with_another_image_is_refused() {
    for spoken in BOTH {
        let (node, origin) = (Machine::dcap(), Origin::start().await);
        let machine = Machine::new(7, EvidenceKind::DcapTdx);
        let mut registers = machine.registers();
        registers.insert("0".to_owned(), "ab".repeat(48));
        let clients = machine.appraiser_of("published image", registers);
        let accepts = acceptor(Some(&node), Some(clients), H1);
        let server = Running::start(accepts, plain_service(&origin.url()), loose()).await;
        let connects = connector(spoken, Some(&machine), node.appraiser(), H1);
        let service = client_service(server.address, connects);
        let client = Running::start::<Nobody, _, _>(Unencrypted, service, loose()).await;
        let answer = get(client.address, "/", "").await;
        assert_eq!(status(&answer), 502, "{answer}");
        assert_eq!(server.counters.handshakes_untrusted.now(), 1);
        assert_eq!((server.counters.requests.now(), origin.count()), (0, 0));
    }
}

#[tokio::test]
async fn connections_are_kept_and_shared() {
    for http in [H1, H2] {
        let chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let client = to(&chain.client);
        for _ in 0..20 {
            let answer = client.send(request("GET", "/", empty())).await.unwrap();
            bytes(answer.response).await;
        }
        assert_eq!(chain.server.counters.accepted.now(), 1, "{http:?}");
        assert_eq!(chain.client.counters.accepted.now(), 1);
        assert_eq!((chain.origin.connections(), chain.origin.count()), (1, 20));
    }
}

#[tokio::test]
async fn many_requests_at_the_same_time() {
    for http in [H1, H2] {
        let chain = Chain::start(Spoken::Ratls, http, &Machine::dcap(), None).await;
        let client = to(&chain.client);
        let started = std::time::Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            tasks.spawn(async move {
                let answer = client.send(request("GET", "/slow", empty())).await.unwrap();
                assert_eq!(bytes(answer.response).await, "slow\n");
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        // One after the other they would take 25 s.
        assert!(started.elapsed().as_secs() < 15);
        if http == H2 {
            assert_eq!(
                chain.server.counters.accepted.now(),
                1,
                "one connection for all"
            );
        }
    }
}

#[tokio::test]
async fn chunks_pass_as_they_come() {
    for http in [H1, H2] {
        let chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let client = to(&chain.client);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let sent = request("POST", "/echo", Chunks(receiver).boxed_unsync());
        sender.send("first").await.unwrap();
        let mut answer = client.send(sent).await.unwrap().response.into_body();
        // The second chunk is not sent before the first one is back.
        for chunk in ["first", "second", "third"] {
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), chunk);
            match chunk {
                "first" => sender.send("second").await.unwrap(),
                "second" => sender.send("third").await.unwrap(),
                _ => {}
            }
        }
        drop(sender);
        assert!(answer.frame().await.is_none());
        assert_eq!(chain.origin.last().header("content-length"), None);
    }
}

/// A body that is what comes through a channel.
struct Chunks(tokio::sync::mpsc::Receiver<&'static str>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let chunk = self.0.poll_recv(context);
        chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
    }
}

#[tokio::test]
async fn messages_without_a_body_are_well_formed() {
    for http in [H1, H2] {
        let chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let address = chain.client.address;
        let head = "HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = raw(address, head).await;
        assert_eq!((status(&answer), body(&answer)), (200, ""), "{answer}");
        assert_eq!(header(&answer, "content-length"), Some("12"), "{answer}");
        let answer = get(address, "/empty", "").await;
        assert_eq!((status(&answer), body(&answer)), (204, ""));
        assert_eq!(header(&answer, "transfer-encoding"), None);
        // The client waits for leave to send its body.
        let post = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\n\
                    content-length: 2\r\n\r\nok";
        let answer = raw(address, post).await;
        assert!(
            answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\nok"));
        assert_eq!(chain.origin.last().header("expect"), None);
        let old = raw(address, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!((status(&old), body(&old)), (200, "answer to /\n"));
    }
}
