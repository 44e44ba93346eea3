//! What a request goes through before a route's handler, at every listener: the table, limits,
//! authentication, the body.
//!
//! I/O: the requests and answers; logs each.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attestation::tls::Nobody;
use attested_http::{Body, Peer, Service};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::header::{HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};

use crate::hub::Hub;
use crate::node::NodeIdentity;
use crate::reply::{Failure, Reply, empty, typed, with};
use crate::routes::{self, Auth, Call, Found, Listener, Route};

/// Largest body of a request.
const MAX_BODY: usize = 1 << 20;

/// How long an answer may take, and the body of the request to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one answer was, for the log and the numbers.
struct Answered {
    reply: Reply,
    route: Option<&'static Route>,
}

/// Answers the requests of a listener to which nobody proves anything.
pub(crate) struct Plain {
    /// Who answers.
    pub(crate) hub: Arc<Hub>,
    /// Where.
    pub(crate) listener: Listener,
}

impl Service<Nobody> for Plain {
    async fn call(&self, request: Request<Body>, peer: Peer<Nobody>) -> Reply {
        let Self { hub, listener } = self;
        let trusts_headers = *listener == Listener::Main && hub.settings.trusts_headers;
        let identity = trusts_headers.then(|| NodeIdentity::from_headers(request.headers()));
        let address = peer.address.ip().to_canonical();
        respond(hub, *listener, request, address, identity.flatten()).await
    }
}

/// Answers a request of `address`; `identity` is what is known of the node that sends it.
pub(crate) async fn respond(
    hub: &Hub,
    listener: Listener,
    request: Request<Body>,
    address: IpAddr,
    identity: Option<NodeIdentity>,
) -> Reply {
    let start = Instant::now();
    let method = request.method().clone();
    let Answered { reply, route } = dispatch(hub, listener, request, address, identity).await;
    let (status, took) = (reply.status().as_u16(), start.elapsed());
    // Never the path as it was asked for, nor a header: they may hold anything.
    let (name, path) = route.map_or(("?", "?"), |route| (route.method, route.path));
    hub.metrics.answered(name, path, status, took);
    let listener = listener.name();
    tracing::debug!(%method, path, status, ?took, %address, listener, "answered");
    reply
}

async fn dispatch(
    hub: &Hub,
    listener: Listener,
    request: Request<Body>,
    address: IpAddr,
    identity: Option<NodeIdentity>,
) -> Answered {
    let found = routes::find(listener, request.method().as_str(), request.uri().path());
    let (route, parameters) = match found {
        Found::Route(route, parameters) => (route, parameters),
        Found::OtherMethod => {
            return Answered {
                reply: empty(StatusCode::METHOD_NOT_ALLOWED),
                route: None,
            };
        }
        Found::Nothing => {
            let text = "404 page not found\n";
            let reply = typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text);
            return Answered { reply, route: None };
        }
    };
    let (head, body) = request.into_parts();
    let actor = match admit(hub, route, &head, address, identity.as_ref()).await {
        Ok(actor) => actor,
        Err(reply) => {
            return Answered {
                reply: *reply,
                route: Some(route),
            };
        }
    };
    let query = head.uri.query().unwrap_or_default().to_owned();
    let patience = PATIENCE.saturating_add(hub.settings.drain);
    let answering = async {
        let body = read(body).await?;
        let call = Call {
            parameters,
            query,
            body,
            address,
            actor,
            identity,
        };
        routes::answer(hub, route.action, call).await
    };
    let reply = match tokio::time::timeout(patience, answering).await {
        Ok(answer) => answer.unwrap_or_else(Reply::from),
        Err(_) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "it took too long").into(),
    };
    Answered {
        reply,
        route: Some(route),
    }
}

/// Lets a request in, and says which admin sends it.
async fn admit(
    hub: &Hub,
    route: &Route,
    head: &Parts,
    address: IpAddr,
    identity: Option<&NodeIdentity>,
) -> Result<Option<String>, Box<Reply>> {
    let now = Instant::now();
    match route.auth {
        Auth::None => Ok(None),
        Auth::Node => {
            let address = identity.map_or(address, |identity| identity.address);
            hub.node_limit.take(address, now).map_err(slow_down)?;
            // Without a word, as existing hubs do; the handler asks the database.
            identity
                .map(|_| None)
                .ok_or_else(|| Box::new(empty(StatusCode::FORBIDDEN)))
        }
        Auth::Admin => {
            if head.method != Method::GET && is_cross_site(&head.headers) {
                let message = "not from another site";
                return Err(Box::new(
                    Failure::new(StatusCode::FORBIDDEN, message).into(),
                ));
            }
            let Some(admin) = &hub.admin else {
                return Ok(None);
            };
            // Failures are what is counted: who guesses is slowed down before a hash is computed.
            if !hub.admin_limit.has_room(address, now) {
                return Err(slow_down(Duration::from_secs(60)));
            }
            match admin.check(&head.headers).await {
                Some(name) => Ok(Some(name)),
                None => {
                    // Nobody waits for more than the next bucket anyway.
                    let _ = hub.admin_limit.take(address, now);
                    Err(Box::new(unauthorized()))
                }
            }
        }
    }
}

/// A browser says where a request comes from; other pages must not use the password that it keeps.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    site.is_some_and(|site| site != "same-origin" && site != "none")
        || (site.is_none() && headers.contains_key(hyper::header::ORIGIN))
}

fn slow_down(wait: Duration) -> Box<Reply> {
    let mut reply = empty(StatusCode::TOO_MANY_REQUESTS);
    let seconds = wait.as_secs().saturating_add(1);
    reply.headers_mut().insert(RETRY_AFTER, seconds.into());
    Box::new(reply)
}

fn unauthorized() -> Reply {
    let text = "Unauthorized\n";
    let reply = typed(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", text);
    with(reply, WWW_AUTHENTICATE, "Basic realm=\"admin\"")
}

async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let ended = |_| Failure::new(StatusCode::BAD_REQUEST, "the body ended early");
        // Anything else is trailers, which nobody wants.
        let Ok(data) = frame.map_err(ended)?.into_data() else {
            continue;
        };
        if read.len().saturating_add(data.len()) > MAX_BODY {
            let message = "expected a body of at most 1 MiB";
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}
