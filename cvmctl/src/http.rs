//! One HTTP GET request on a connection that is there, bounded in size. Who calls bounds the time.
//!
//! Redirects are answers like any other: whoever was asked has been verified, not whom he names.
//!
//! I/O: reads and writes the connection; connects to services of published values.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use attestation::tls::Http;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::trust::system_tls;

/// Largest answer that is read.
const MAX_BODY: usize = 16 << 20;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Asks for `url` on `stream`, whose other end speaks `http`.
pub(crate) async fn get<S>(stream: S, http: Http, url: &Uri) -> anyhow::Result<Response>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    match http {
        Http::Http1 => {
            let target = url.path_and_query().map_or("/", |target| target.as_str());
            let authority = url.authority().context("expected an address with a host")?;
            let request = Request::get(target)
                .header(HOST, authority.as_str())
                .header(USER_AGENT, PROGRAM)
                .body(Empty::<Bytes>::new())?;
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await;
            read(response.context("ask for the answer")?).await
        }
        Http::Http2 => {
            let request = Request::get(url.clone())
                .header(USER_AGENT, PROGRAM)
                .body(Empty::<Bytes>::new())?;
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await;
            read(response.context("ask for the answer")?).await
        }
    }
}

const PROGRAM: &str = concat!("cvmctl/", env!("CARGO_PKG_VERSION"));

async fn read(response: hyper::Response<Incoming>) -> anyhow::Result<Response> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"));
    Ok(Response {
        status: head.status,
        body: body.context("read the answer")?.to_bytes().to_vec(),
    })
}

/// Fetches a file from a service that the system's roots vouch for, or from this machine.
pub(crate) async fn fetch(url: &str) -> anyhow::Result<Vec<u8>> {
    let url: Uri = url.parse().context("read the address")?;
    let host = url.host().context("expected an address with a host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = |standard| url.port_u16().unwrap_or(standard);
    let response = match url.scheme_str() {
        Some("https") => {
            let connector = TlsConnector::from(Arc::clone(&system_tls()?));
            let tcp = connect(bare, port(443)).await?;
            let name = ServerName::try_from(bare.to_owned())?;
            let stream = connector.connect(name, tcp).await.context("set up TLS")?;
            get(stream, Http::Http1, &url).await?
        }
        Some("http") => {
            let address: Option<IpAddr> = bare.parse().ok();
            ensure!(
                address.is_some_and(|address| address.is_loopback()),
                "over http, anybody on the way could change what is expected: use https"
            );
            get(connect(bare, port(80)).await?, Http::Http1, &url).await?
        }
        _ => bail!("expected an address such as https://host/file"),
    };
    let status = response.status;
    ensure!(status.is_success(), "expected status 200, got {status}");
    Ok(response.body)
}

/// Connects to one of a host's addresses.
pub(crate) async fn connect(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await;
    stream.with_context(|| format!("connect to {host} port {port}"))
}
