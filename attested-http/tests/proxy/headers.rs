//! The rules about headers, and ways around them.

use crate::support::{Chain, H2, Machine, Spoken, body, get, header, raw, status};

const MEASUREMENT: &str = "unexpected measurement header passed\n";
const TYPE: &str = "unexpected attestation type header passed\n";

#[tokio::test]
async fn requests_that_claim_something_are_refused() {
    let chain = Chain::simple().await;
    for (line, expected) in [
        ("X-Flashbots-Measurement: {}\r\n", MEASUREMENT),
        ("x-flashbots-measurement:\r\n", MEASUREMENT),
        ("X_FLASHBOTS_MEASUREMENT: {}\r\n", MEASUREMENT),
        ("X-Flashbots-Attestation-Type: azure-tdx\r\n", TYPE),
        ("x-flashbots_attestation-type: none\r\n", TYPE),
        (
            "X-Flashbots-Attestation-Type: a\r\nX-Flashbots-Measurement: b\r\n",
            MEASUREMENT,
        ),
        (
            "X-Flashbots-Measurement: a\r\nX-Flashbots-Measurement: b\r\n",
            MEASUREMENT,
        ),
        (
            "Connection: X-Flashbots-Measurement\r\nX-Flashbots-Measurement: a\r\n",
            MEASUREMENT,
        ),
    ] {
        for proxy in [&chain.client] {
            let answer = get(proxy.address, "/", line).await;
            assert_eq!((status(&answer), body(&answer)), (403, expected), "{line}");
            let plain = header(&answer, "content-type");
            assert_eq!(plain, Some("text/plain; charset=utf-8"));
        }
    }
    assert_eq!(chain.origin.count(), 0);
    assert_eq!(
        chain.server.counters.requests.now(),
        0,
        "the client's proxy refuses already"
    );
}

#[tokio::test]
async fn a_client_that_proves_something_cannot_say_something_else() {
    let (node, machine) = (
        Machine::dcap(),
        Machine::new(7, attestation::EvidenceKind::DcapTdx),
    );
    let chain = Chain::start(Spoken::Atls, H2, &node, Some(&machine)).await;
    // Naming a header as one of the connection's own removes the client's, not the proxy's.
    let line =
        "connection: x-flashbots-measurement, x-flashbots-attestation-type, x-forwarded-for\r\n";
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{line}\r\n");
    let answer = raw(chain.client.address, &request).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let seen = chain.origin.last();
    assert_eq!(
        seen.header("x-flashbots-measurement"),
        Some(&*machine.header())
    );
    assert_eq!(
        seen.header("x-flashbots-attestation-type"),
        Some("qemu-tdx")
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1, 127.0.0.1"));
}

#[tokio::test]
async fn answers_that_claim_something_are_refused() {
    let chain = Chain::simple().await;
    for (name, expected) in [
        ("X-Flashbots-Measurement", MEASUREMENT),
        ("x_flashbots_measurement", MEASUREMENT),
        ("X-Flashbots-Attestation-Type", TYPE),
    ] {
        let answer = get(chain.client.address, &format!("/claims?{name}"), "").await;
        assert_eq!((status(&answer), body(&answer)), (502, expected), "{name}");
    }
}

#[tokio::test]
async fn trailers_pass_without_claims() {
    for http in [crate::support::H1, H2] {
        let chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let post = "POST /received-trailers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
            transfer-encoding: chunked\r\ntrailer: x-sum, x-flashbots-measurement\r\n\r\n\
            3\r\nabc\r\n0\r\nx-sum: 1\r\nx-flashbots-measurement: {}\r\n\
            X_Flashbots_Attestation_Type: azure-tdx\r\n\r\n";
        let answer = raw(chain.client.address, post).await;
        assert_eq!(
            (status(&answer), body(&answer)),
            (200, "x-sum\n"),
            "{http:?}"
        );
    }
}

#[tokio::test]
async fn an_origins_trailers_pass_without_claims() {
    for http in [crate::support::H1, H2] {
        let chain = Chain::start(Spoken::Atls, http, &Machine::dcap(), None).await;
        let answer = get(chain.client.address, "/trailers", "te: trailers\r\n").await;
        let body = body(&answer);
        assert!(body.starts_with("4\r\ndata\r\n0\r\n"), "{answer}");
        assert!(body.contains("x-sum: 1"), "{answer}");
        let said = body.to_lowercase();
        assert!(!said.contains("flashbots"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_about_a_connection_stays_on_it() {
    let chain = Chain::simple().await;
    let lines = "Keep-Alive: timeout=5\r\nProxy-Authorization: Basic c2VjcmV0\r\nTE: gzip\r\n\
        X-Private: 1\r\nX-Public: 2\r\nConnection: X-Private\r\n";
    let answer = get(chain.client.address, "/", lines).await;
    assert_eq!(status(&answer), 200);
    let seen = chain.origin.last();
    for name in [
        "keep-alive",
        "proxy-authorization",
        "te",
        "x-private",
        "connection",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-public"), Some("2"));
}

#[tokio::test]
async fn the_way_of_a_request_is_kept() {
    let chain = Chain::simple().await;
    let lines = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n";
    get(chain.client.address, "/", lines).await;
    let expected = "192.0.2.1, 192.0.2.2, 127.0.0.1, 127.0.0.1";
    assert_eq!(
        chain.origin.last().header("x-forwarded-for"),
        Some(expected)
    );
}

#[tokio::test]
async fn protocols_are_not_switched() {
    let chain = Chain::simple().await;
    let websocket = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let answer = get(chain.client.address, "/", websocket).await;
    assert_eq!(status(&answer), 501);
    assert!(body(&answer).contains("upgrade_not_supported"));
    let connect =
        "CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&raw(chain.client.address, connect).await), 501);
    assert_eq!(chain.origin.count(), 0);
    // A client that would like HTTP/2 gets HTTP/1.1.
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let answer = get(chain.client.address, "/", h2c).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(chain.origin.last().header("http2-settings"), None);
}

#[tokio::test]
async fn a_request_within_a_request_is_not_one() {
    let chain = Chain::simple().await;
    // Two lengths; a length beside chunks; a malformed chunk.
    let inner = "GET /smuggled HTTP/1.1\r\nhost: x\r\nx-flashbots-measurement: {}\r\n\r\n";
    for framing in [
        format!(
            "content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            inner.len()
        ),
        "content-length: 0\r\ncontent-length: 5\r\n\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ] {
        let post =
            format!("POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}{inner}");
        let answer = raw(chain.client.address, &post).await;
        assert!(!answer.contains("smuggled"), "{answer}");
    }
    let paths: Vec<String> = chain
        .origin
        .all()
        .into_iter()
        .map(|seen| seen.uri)
        .collect();
    assert!(
        !paths.iter().any(|path| path.contains("smuggled")),
        "{paths:?}"
    );
}
