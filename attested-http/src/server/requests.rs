//! One connection's requests, on their way to the service and back.
//!
//! I/O: none.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use attestation::tls::{BoxError, Http};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::watch;

use super::activity::{Activity, UnderWay};
use super::counters::{Counters, Entered};
use super::limits::Limits;
use super::streams::Taking;
use super::{Peer, Phase, Service};
use crate::body::{Body, Patient};

/// Most bytes that HTTP/2 is given at once. The peer has taken something when it has taken this much,
/// which must not take an honest one too long.
const PIECE: usize = 16 << 10;

/// Has a service answer what comes on one connection.
pub(super) struct Requests<C, S> {
    pub(super) service: Arc<S>,
    pub(super) peer: Peer<C>,
    pub(super) activity: Arc<Activity>,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
    pub(super) phase: watch::Receiver<Phase>,
}

impl<C, S> hyper::service::Service<Request<Incoming>> for Requests<C, S>
where
    C: Send + Sync + 'static,
    S: Service<C>,
{
    type Response = Response<Held>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Held>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.counters.requests.add();
        let held = (self.activity.request(), self.counters.requests_open.enter());
        let stalled = self.limits.stalled;
        let request = request.map(|body| Patient::new(body, stalled).boxed_unsync());
        let is_draining = *self.phase.borrow() != Phase::Serving;
        let peer = Peer {
            is_draining,
            ..self.peer.clone()
        };
        let service = Arc::clone(&self.service);
        let is_http1 = self.peer.http == Http::Http1;
        Box::pin(async move {
            let mut response = service.call(request, peer).await;
            if is_draining && is_http1 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Held::new(body, held)))
        })
    }
}

/// An answer's body, while which the request is under way.
pub(super) struct Held {
    body: Body,
    /// What came of it and was not given out yet.
    rest: Bytes,
    /// Told whose turn it is; only HTTP/2 has it.
    taking: Option<Arc<Taking>>,
    _held: (UnderWay, Entered),
}

impl Held {
    fn new(body: Body, held: (UnderWay, Entered)) -> Self {
        let taking = Taking::current();
        if let Some(taking) = &taking {
            taking.turn(true);
        }
        Self {
            body,
            rest: Bytes::new(),
            taking,
            _held: held,
        }
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(taking) = self.taking.clone() else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        if self.rest.is_empty() {
            let frame = Pin::new(&mut self.body).poll_frame(context);
            taking.turn(matches!(frame, Poll::Ready(Some(Ok(_)))));
            match frame {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                frame => return frame,
            }
        } else {
            taking.turn(true);
        }
        let size = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(size);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut size = self.body.size_hint();
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        if let Some(upper) = size.upper().and_then(|upper| upper.checked_add(rest)) {
            size.set_upper(upper);
        }
        size.set_lower(size.lower().saturating_add(rest));
        size
    }
}
