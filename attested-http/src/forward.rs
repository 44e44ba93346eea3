//! The reverse proxy: sends what comes to one server, and says who was on the other side.
//!
//! - A request or an answer that already says who somebody is, is refused: 403 and 502. Only what a
//!   handshake has proven goes into those headers.
//! - `Host` is the server's; the client's address is appended to `X-Forwarded-For`.
//! - Headers that are about one connection stay on it; trailers do not replace headers that matter.
//! - The path is the target's and the request's, joined as Go's reverse proxy does.
//! - A server that does not answer is a 502 that says why.
//!
//! Bodies are passed on as they come, both ways. Protocol upgrades are refused.
//!
//! I/O: none but the client's.

mod headers;
mod passed;
mod path;

use std::time::Instant;

use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Version};

use self::headers::{Refusal, Side};
use self::passed::Passed;
use crate::body::{Body, failure, text};
use crate::causes::Causes;
use crate::claims::{Claims, describe};
use crate::client::{Answer, Upstream, UpstreamError};
use crate::server::{Peer, Service};

/// Sends all requests to one server.
///
/// `C` is what clients prove, `U` what the server proves; either may be
/// [`Nobody`](attestation::tls::Nobody).
pub struct Forwarder<U> {
    upstream: Upstream<U>,
    settings: ForwardSettings,
}

/// How requests are passed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardSettings {
    /// Whether a 502 says what went wrong with the server, addresses and all. For clients who are
    /// to know; it is logged in any case.
    pub explains: bool,
    /// Most bytes of a request's body; no bound if `None`, since nothing of it is kept.
    pub request_body: Option<u64>,
}

impl<U: Claims> Forwarder<U> {
    /// Sends to `upstream`.
    pub fn new(upstream: Upstream<U>, settings: ForwardSettings) -> Self {
        Self { upstream, settings }
    }

    /// The server.
    pub fn upstream(&self) -> &Upstream<U> {
        &self.upstream
    }

    /// Passes a request on, and the answer back.
    pub async fn forward<C: Claims>(
        &self,
        request: Request<Body>,
        peer: Peer<C>,
    ) -> Response<Body> {
        let began = Instant::now();
        let response = match self.outgoing(request, &peer) {
            Err(refused) => *refused,
            Ok(request) => match self.upstream.send_for(peer.address.ip(), request).await {
                Ok(answer) => self.incoming(answer),
                Err(error) => self.unanswered(&error),
            },
        };
        let (status, milliseconds) = (response.status().as_u16(), began.elapsed().as_millis());
        tracing::debug!(address = %peer.address, status, milliseconds, "request answered");
        response
    }

    fn outgoing<C: Claims>(
        &self,
        request: Request<Body>,
        peer: &Peer<C>,
    ) -> Result<Request<Body>, Box<Response<Body>>> {
        let (mut head, body) = request.into_parts();
        headers::refuse_claims(&head.headers)
            .map_err(|refusal| text(StatusCode::FORBIDDEN, refusal.text()))?;
        if head.method == Method::CONNECT || headers::wants_upgrade(&head.headers) {
            let message = "this proxy does not switch protocols";
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(failure(status, "upgrade_not_supported", message).into());
        }
        if self.is_too_large(&head.headers) {
            let message = "the request's body is too large";
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(failure(status, "body_too_large", message).into());
        }
        let path = path::join(self.upstream.target().base(), &head.uri);
        let path = path.map_err(|_| {
            let message = "the request's path is malformed";
            failure(StatusCode::BAD_REQUEST, "bad_path", message)
        })?;
        head.uri = hyper::Uri::from(path);
        head.extensions.clear();
        headers::end_hop(&mut head.headers, Side::Request);
        headers::forwarded_for(&mut head.headers, peer.address.ip());
        if let Some(verified) = &peer.verified {
            describe(verified, &mut head.headers);
        }
        let body = Passed::new(body, self.settings.request_body).boxed_unsync();
        Ok(Request::from_parts(head, body))
    }

    fn is_too_large(&self, headers: &hyper::HeaderMap) -> bool {
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let limit = self.settings.request_body;
        length
            .zip(limit)
            .is_some_and(|(length, limit)| length > limit)
    }

    fn incoming(&self, answer: Answer<U>) -> Response<Body> {
        let (mut head, body) = answer.response.into_parts();
        if let Err(refusal) = headers::refuse_claims(&head.headers) {
            return self.bad_answer(refusal);
        }
        if head.status.is_informational() {
            let message = "the server switches protocols, which nobody asked for";
            return failure(StatusCode::BAD_GATEWAY, "bad_answer", message);
        }
        head.version = Version::HTTP_11;
        head.extensions.clear();
        headers::end_hop(&mut head.headers, Side::Answer);
        if let Some(verified) = &answer.verified {
            describe(verified, &mut head.headers);
        }
        Response::from_parts(head, Passed::new(body, None).boxed_unsync())
    }

    fn bad_answer(&self, refusal: Refusal) -> Response<Body> {
        let reason = refusal.text();
        tracing::warn!(reason, "answer refused");
        text(StatusCode::BAD_GATEWAY, reason)
    }

    fn unanswered(&self, error: &UpstreamError) -> Response<Body> {
        let next = error.next_try();
        if next.is_none() {
            tracing::warn!(error = %Causes(error), "request without an answer");
        }
        let message = match self.settings.explains {
            true => Causes(error).to_string(),
            false => "the server behind this proxy does not answer".to_owned(),
        };
        let mut response = failure(StatusCode::BAD_GATEWAY, code(error), &message);
        if let Some(next) = next {
            // In whole seconds, and not too early.
            let seconds = next.as_secs().saturating_add(1);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What a program can tell failures by.
fn code(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Resolve { .. } | UpstreamError::Connect { .. } => "server_not_reached",
        UpstreamError::Handshake { .. } => "server_not_trusted",
        UpstreamError::Pausing { .. } => "server_not_tried",
        UpstreamError::Busy { .. } => "proxy_busy",
        UpstreamError::Timeout { .. } => "server_too_slow",
        _ => "server_failed",
    }
}

impl<C: Claims, U: Claims> Service<C> for Forwarder<U> {
    fn call(
        &self,
        request: Request<Body>,
        peer: Peer<C>,
    ) -> impl Future<Output = Response<Body>> + Send {
        self.forward(request, peer)
    }
}
