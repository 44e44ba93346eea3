//! Bodies of messages: streams, of which nothing is kept that was passed on.
//!
//! I/O: none.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use attestation::tls::BoxError;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

/// A body of either direction.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}

/// An answer in plain text, which ends with a line end.
pub fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// An answer that says what went wrong: a JSON object of `code`, for programs, and `message`, for
/// people.
pub fn failure(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let json = serde_json::json!({"code": code, "message": message});
    let mut response = Response::new(full(format!("{json}\n")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A peer sends nothing more of its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no more of the body within {limit:?}")]
pub struct Stalled {
    /// How long it may send nothing.
    pub limit: Duration,
}

/// A body is larger than it may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a body of at most {limit} bytes, got more")]
pub struct TooLarge {
    /// Most that is passed on.
    pub limit: u64,
}

/// Passes a body on, as long as something comes of it within a limit.
pub(crate) struct Patient<B> {
    body: B,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B> Patient<B> {
    pub(crate) fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            sleep: None,
        }
    }
}

impl<B> hyper::body::Body for Patient<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(sleep.as_mut().poll(context));
        // A caller that asks again waits again.
        let now = Instant::now();
        sleep.as_mut().reset(now.checked_add(limit).unwrap_or(now));
        Poll::Ready(Some(Err(Stalled { limit }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
