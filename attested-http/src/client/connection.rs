//! One connection to a server, and the answers that come on it.
//!
//! I/O: reads and writes the connection.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use attestation::tls::{BoxError, VerifiedPeer};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use tokio::time::{Instant, sleep_until};

use super::places::Place;
use super::pool::Pool;
use crate::body::{Body, Patient};

/// How long a connection may take after an answer until it takes the next request.
const SETTLING: Duration = Duration::from_secs(5);

/// What all users of a connection know of it.
pub(super) struct Link<C> {
    pub(super) id: u64,
    pub(super) verified: Option<Arc<VerifiedPeer<C>>>,
    pub(super) usage: Arc<Usage>,
}

/// How many requests are under way on a connection, and since when there are none.
#[derive(Debug)]
pub(super) struct Usage(Mutex<(usize, Instant)>);

impl Usage {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, Instant::now()))))
    }

    fn begin(self: &Arc<Self>) -> Using {
        let mut state = self.lock();
        state.0 = state.0.saturating_add(1);
        Using(Arc::clone(self))
    }

    /// Resolves when the connection was without a request for as long as `limit`.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let (requests, since) = *self.lock();
            let from = if requests == 0 { since } else { Instant::now() };
            let Some(until) = from.checked_add(limit) else {
                return std::future::pending().await;
            };
            if requests == 0 && until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request is under way.
struct Using(Arc<Usage>);

impl Drop for Using {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        *state = (state.0.saturating_sub(1), Instant::now());
    }
}

/// A connection's end that takes requests.
pub(super) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A connection that is about to take one.
pub(super) struct Ready<C> {
    sender: Sender,
    link: Arc<Link<C>>,
    _using: Using,
    is_fresh: bool,
}

/// A request that has no answer.
pub(super) enum Refused {
    /// Nothing of it was sent.
    Unsent(Box<Request<Body>>),
    /// Something may have been.
    Broken(hyper::Error),
}

impl<C: Send + Sync + 'static> Ready<C> {
    /// Leaves the connection to the next request: nobody wants it any more.
    pub(super) fn leave(self, pool: &Pool<C>) {
        // HTTP/2 is shared already.
        if let Sender::Http1(sender) = self.sender {
            pool.keep(sender, self.link);
        }
    }

    pub(super) fn new(sender: Sender, link: Arc<Link<C>>, is_fresh: bool) -> Self {
        Self {
            _using: link.usage.begin(),
            sender,
            link,
            is_fresh,
        }
    }

    /// Whether this is the first request on it.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    pub(super) fn id(&self) -> u64 {
        self.link.id
    }

    pub(super) fn verified(&self) -> Option<Arc<VerifiedPeer<C>>> {
        self.link.verified.clone()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Refused> {
        let refused = |mut error: TrySendError<Request<Body>>| match error.take_message() {
            Some(request) => Refused::Unsent(Box::new(request)),
            None => Refused::Broken(error.into_error()),
        };
        match &mut self.sender {
            Sender::Http1(sender) => {
                // A new connection is ready as soon as its task has run once.
                if let Err(error) = sender.ready().await {
                    tracing::debug!(%error, "connection is not ready");
                    return Err(Refused::Unsent(Box::new(request)));
                }
                sender.try_send_request(request).await.map_err(refused)
            }
            Sender::Http2(sender) => sender.try_send_request(request).await.map_err(refused),
        }
    }

    /// Keeps the connection for the answer's body, and for the next request after it.
    pub(super) fn hold(
        self,
        response: Response<Incoming>,
        place: Place,
        pool: Arc<Pool<C>>,
    ) -> Response<Body> {
        let limit = pool.settings().response_idle;
        let lease = Lease {
            ready: self,
            pool,
            _place: place,
        };
        response.map(|body| {
            let mut held = Held {
                lease: Some(lease),
                body,
            };
            held.release_at_end();
            Patient::new(held, limit).boxed_unsync()
        })
    }
}

/// What an answer's body holds until its end.
struct Lease<C> {
    ready: Ready<C>,
    pool: Arc<Pool<C>>,
    _place: Place,
}

impl<C: Send + Sync + 'static> Lease<C> {
    /// The whole answer is there: the connection may have another request.
    fn release(self) {
        let Sender::Http1(mut sender) = self.ready.sender else {
            return;
        };
        let (link, pool) = (self.ready.link, self.pool);
        if sender.is_ready() {
            return pool.keep(sender, link);
        }
        // The request's body may not have ended, or the connection has not noticed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let settled = tokio::time::timeout(SETTLING, sender.ready()).await;
                if let Ok(Ok(())) = settled {
                    pool.keep(sender, link);
                }
            });
        }
    }
}

/// An answer's body, which gives the connection back when it has ended.
struct Held<C> {
    body: Incoming,
    lease: Option<Lease<C>>,
}

impl<C: Send + Sync + 'static> Held<C> {
    fn release_at_end(&mut self) {
        if hyper::body::Body::is_end_stream(&self.body)
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl<C: Send + Sync + 'static> hyper::body::Body for Held<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => self.release_at_end(),
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Ready(None) => {
                if let Some(lease) = self.lease.take() {
                    lease.release();
                }
            }
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
