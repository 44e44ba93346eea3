//! What people use: curl without knowing of attestation, and HTTP/2 over what was attested.

use std::net::SocketAddr;
use std::process::Output;

use attestation::tls::{
    Accepted, Acceptor, Connected, Dial, Http, Identity, Nobody, Protocol, TlsStream,
};
use h2::client;
use http::{Request, Response};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::node::{Authority, CLIENT, NAME, meet, server, settings};
use crate::parties::{TestAttester, TestVerifier};

const ANSWER: &[u8] = b"-----BEGIN CERTIFICATE-----\n";

/// Answers one request in whichever version of HTTP was agreed on; returns its path.
async fn answer<S, C>(accepted: Accepted<S, C>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match accepted.http {
        Http::Http1 => answer_http1(accepted.stream).await,
        Http::Http2 => answer_http2(accepted.stream).await,
    }
}

async fn answer_http1(mut stream: TlsStream<impl AsyncRead + AsyncWrite + Unpin>) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        ANSWER.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(ANSWER).await.unwrap();
    stream.shutdown().await.unwrap();
    let request = String::from_utf8(request).unwrap();
    request.split(' ').nth(1).unwrap().to_owned()
}

async fn answer_http2(stream: TlsStream<impl AsyncRead + AsyncWrite + Unpin>) -> String {
    let mut requests = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = requests.accept().await.unwrap().unwrap();
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(ANSWER.into(), true).unwrap();
    // Until the peer has closed, so that everything is sent.
    while let Some(Ok(_)) = requests.accept().await {}
    request.uri().path().to_owned()
}

async fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .output()
        .await
        .expect("run curl")
}

/// Has curl ask a server that also attests for `/cert`.
async fn ask(identity: Identity, http: Vec<Http>, arguments: &[&str]) -> (Output, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = settings(identity, Some(TestAttester::new(1)), None::<Nobody>);
    settings.http = http;
    let server = Acceptor::new(settings).unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let accepted = server
            .accept(stream, CLIENT, UnixTime::now())
            .await
            .unwrap();
        assert_eq!(accepted.protocol, Protocol::Plain);
        answer(accepted).await
    };
    let arguments = fill(arguments, address);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (output, path) = tokio::join!(curl(&arguments), serve);
    (output, path)
}

fn fill(arguments: &[&str], address: SocketAddr) -> Vec<String> {
    let port = address.port().to_string();
    arguments
        .iter()
        .map(|argument| argument.replace("PORT", &port))
        .collect()
}

#[tokio::test]
async fn curl_insecure_by_address() {
    for (http, version) in [
        (vec![Http::Http1], "1.1"),
        (vec![Http::Http2, Http::Http1], "2"),
    ] {
        let identity = Authority::new().identity(NAME);
        let url = "https://127.0.0.1:PORT/cert";
        let arguments = ["--insecure", "--write-out", "%{http_version}", url];
        let (output, path) = ask(identity, http, &arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let expected = [ANSWER, version.as_bytes()].concat();
        assert_eq!((output.stdout, &*path), (expected, "/cert"));
    }
}

#[tokio::test]
async fn curl_by_name_with_the_nodes_authority() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    for versions in ["1.2", "1.3"] {
        let arguments = [
            "--cacert",
            roots.to_str().unwrap(),
            "--resolve",
            "node.example:PORT:127.0.0.1",
            "--tls-max",
            versions,
            "https://node.example:PORT/cert",
        ];
        let identity = authority.identity(NAME);
        let (output, _) = ask(identity, vec![Http::Http1], &arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert_eq!(output.stdout, ANSWER);
    }
}

#[tokio::test]
async fn curl_is_refused_where_clients_have_to_attest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/cert", listener.local_addr().unwrap());
    let verifier = TestVerifier::of(&TestAttester::new(1));
    let server = server(None::<Nobody>, Some(verifier));
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        server.accept(stream, CLIENT, UnixTime::now()).await
    };
    let arguments = ["--insecure", &url];
    let (output, accepted) = tokio::join!(curl(&arguments), serve);
    assert!(accepted.is_err());
    assert_eq!((output.status.success(), output.stdout), (false, vec![]));
}

/// Asks over what `connected` is.
async fn get<C, S>(connected: Connected<S, C>) -> Vec<u8>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    assert_eq!(connected.http, Http::Http2);
    let (mut requests, connection) = client::handshake(connected.stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://node.example/cert").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        bytes.extend(chunk.unwrap());
    }
    drop((requests, body));
    connection.await.unwrap().unwrap();
    bytes
}

#[tokio::test]
async fn http2_over_both_protocols() {
    let attester = TestAttester::new(1);
    let verifier = || TestVerifier::of(&attester);
    for dial in [Dial::Ratls(verifier()), Dial::Atls(verifier())] {
        let server = server(Some(attester.clone()), None::<Nobody>);
        let client = crate::node::client(dial, None::<Nobody>);
        let (accepted, connected) = meet(&server, &client).await;
        let (path, body) = tokio::join!(answer(accepted.unwrap()), get(connected.unwrap()));
        assert_eq!((&*path, &*body), ("/cert", ANSWER));
    }
}
