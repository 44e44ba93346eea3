//! One HTTP request and its answer, bounded in time and size.
//!
//! I/O: network.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For connecting, asking and reading together, if nothing else is said.
const LIMIT: Duration = Duration::from_secs(10);

/// Largest answer; CRLs grow, but have been below a megabyte.
const MAX_BODY: usize = 4 << 20;

/// Sends requests, each on a connection of its own. Redirections are not followed.
#[derive(Clone)]
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    /// For connecting, asking and reading together: an answer that trickles in ends there, too.
    pub(super) limit: Duration,
}

/// What a service answered.
pub(super) struct Response {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is not one of a service.
    #[error("expected an address such as https://host:port, got {address}")]
    Address {
        /// The address.
        address: Uri,
    },
    /// The service cannot be reached.
    #[error("connect")]
    Connect(#[source] std::io::Error),
    /// The service is not who it should be, or does not speak TLS.
    #[error("establish TLS")]
    Tls(#[source] std::io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("exchange HTTP messages")]
    Http(#[from] hyper::Error),
    /// The answer is too large, or broke off.
    #[error("read the answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service refuses.
    #[error("expected status 200, got {actual}")]
    Status {
        /// What it said.
        actual: StatusCode,
        /// In how many seconds it wants to be asked again, if it says.
        retry_after: Option<u64>,
    },
    /// The service is too slow.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// How long was waited.
        limit: Duration,
    },
}

impl HttpError {
    /// Whether the same request may well succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Address { .. } => false,
            // Who is somebody else now will be in a second.
            Self::Tls(error) => !is_about_certificate(error),
            Self::Status { actual, .. } => {
                actual.is_server_error() || *actual == StatusCode::TOO_MANY_REQUESTS
            }
            _ => true,
        }
    }

    /// How long the service wants to be left alone, in seconds, if it says.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Client {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, limit: LIMIT }
    }

    /// Sends a GET request.
    pub(super) async fn get(&self, url: &Uri) -> Result<Response, HttpError> {
        let limit = self.limit;
        tokio::time::timeout(limit, connect_and_get(url, &self.tls))
            .await
            .unwrap_or(Err(HttpError::Timeout { limit }))
    }
}

async fn connect_and_get(url: &Uri, tls: &Arc<ClientConfig>) -> Result<Response, HttpError> {
    let wrong = || HttpError::Address {
        address: url.clone(),
    };
    let host = url.host().ok_or_else(wrong)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_tls = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong()),
    };
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = TcpStream::connect((bare, port)).await;
    let tcp = tcp.map_err(HttpError::Connect)?;
    if !is_tls {
        return exchange(url, tcp).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| wrong())?;
    let connector = TlsConnector::from(tls.clone());
    let stream = connector.connect(name, tcp).await;
    exchange(url, stream.map_err(HttpError::Tls)?).await
}

async fn exchange(
    url: &Uri,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Response, HttpError> {
    let wrong = || HttpError::Address {
        address: url.clone(),
    };
    let authority = url.authority().ok_or_else(wrong)?.as_str();
    let target = url.path_and_query().ok_or_else(wrong)?.as_str();
    let request = Request::get(target)
        .header(HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|_| wrong())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(HttpError::Status {
                actual: head.status,
                retry_after: seconds(&head.headers),
            });
        }
        let body = Limited::new(body, MAX_BODY).collect().await;
        Ok(Response {
            headers: head.headers,
            body: body.map_err(HttpError::Body)?.to_bytes().to_vec(),
        })
    };
    tokio::pin!(asking, connection);
    tokio::select! {
        answer = &mut asking => answer,
        ended = &mut connection => {
            ended?;
            asking.await
        }
    }
}

fn is_about_certificate(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// RFC 9110, 10.2.3; the form with a date is passed over.
fn seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
