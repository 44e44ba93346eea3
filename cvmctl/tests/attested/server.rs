//! Servers on the loopback, one thread each, until the test ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attestation::tls::limits::Bounds;
use attestation::tls::{
    Accepted, Acceptor, Http, Identity, Nobody, ServerSettings, Timeouts, TlsStream,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Node, Script};

/// From the target of a request to the bytes of the answer.
pub(crate) type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// What a server does with its connections.
#[derive(Clone)]
pub(crate) enum Speaks {
    /// Attested TLS, or ordinary TLS without a script; then one HTTP answer.
    Attested {
        script: Option<Script>,
        http: Vec<Http>,
        status: u16,
        body: Vec<u8>,
    },
    /// Evidence, and then nothing.
    AttestedSilence(Script),
    /// TLS as rustls speaks it, which knows nothing of aTLS; then as without.
    Tls(Arc<Identity>, Answers),
    /// Whatever these bytes are, to whoever has sent a request.
    Plain(Answers),
    /// Closes at once.
    Nothing,
    /// Never says anything.
    Silence,
}

/// Serves in a thread of its own.
pub(crate) fn serve(speaks: Speaks) -> Node {
    let requests = Arc::new(AtomicUsize::new(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let counter = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(accept(listener, &speaks, &counter));
    });
    Node { address, requests }
}

pub(crate) fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

async fn accept(listener: std::net::TcpListener, speaks: &Speaks, requests: &AtomicUsize) {
    let listener = TcpListener::from_std(listener).unwrap();
    let (script, http) = match speaks {
        Speaks::Attested { script, http, .. } => (script.clone(), http.clone()),
        Speaks::AttestedSilence(script) => (Some(script.clone()), vec![Http::Http1]),
        _ => (None, Vec::new()),
    };
    let acceptor = Acceptor::<_, Nobody>::new(ServerSettings {
        identity: identity(),
        attester: script,
        verifier: None,
        http,
        bounds: Bounds::default(),
        timeouts: Timeouts::SERVER,
    })
    .unwrap();
    let mut kept = Vec::new();
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        match speaks {
            Speaks::Attested { status, body, .. } => {
                if let Ok(accepted) = handshake(&acceptor, stream, peer).await {
                    answer(accepted, *status, body, requests).await;
                }
            }
            Speaks::AttestedSilence(_) => {
                if let Ok(mut accepted) = handshake(&acceptor, stream, peer).await {
                    let mut byte = [0];
                    let _ = accepted.stream.read(&mut byte).await;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            }
            Speaks::Tls(identity, answers) => {
                if let Ok(stream) = tls(identity, stream).await {
                    plain(stream, answers).await;
                }
            }
            Speaks::Plain(answers) => plain(stream, answers).await,
            Speaks::Nothing => drop(stream),
            Speaks::Silence => kept.push(stream),
        }
    }
}

async fn handshake(
    acceptor: &Acceptor<Script, Nobody>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<Accepted<TcpStream, Nobody>, ()> {
    let accepted = acceptor.accept(stream, peer.ip(), UnixTime::now()).await;
    accepted.map_err(|_| ())
}

async fn answer(
    accepted: Accepted<TcpStream, Nobody>,
    status: u16,
    body: &[u8],
    requests: &AtomicUsize,
) {
    match accepted.http {
        Http::Http1 => answer_http1(accepted.stream, status, body, requests).await,
        Http::Http2 => answer_http2(accepted.stream, status, body, requests).await,
    }
}

async fn answer_http1<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: TlsStream<S>,
    status: u16,
    body: &[u8],
    requests: &AtomicUsize,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        if request.is_empty() {
            requests.fetch_add(1, Ordering::SeqCst);
        }
        request.push(byte);
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.shutdown().await;
}

async fn answer_http2<S: AsyncRead + AsyncWrite + Unpin>(
    stream: TlsStream<S>,
    status: u16,
    body: &[u8],
    requests: &AtomicUsize,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let Some(Ok((_, mut respond))) = connection.accept().await else {
        return;
    };
    requests.fetch_add(1, Ordering::SeqCst);
    let response = http::Response::builder().status(status).body(()).unwrap();
    let mut sending = respond.send_response(response, false).unwrap();
    sending.send_data(body.to_vec().into(), true).unwrap();
    // Until the peer has closed, so that everything is sent.
    while let Some(Ok(_)) = connection.accept().await {}
}

async fn tls(
    identity: &Identity,
    stream: TcpStream,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    acceptor.accept(stream).await
}

async fn plain(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: &Answers) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap();
    let _ = stream.write_all(&answers(target)).await;
    let _ = stream.shutdown().await;
}
