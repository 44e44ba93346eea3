//! When a request's body last moved: an answer cannot be expected before it has all been sent.
//!
//! I/O: none.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use attestation::tls::BoxError;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::Body;

/// Shared with the body.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<Mutex<Instant>>);

/// A request's body that says when it moves.
pub(super) struct Paced {
    body: Body,
    pace: Pace,
}

impl Paced {
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Pace) {
        let pace = Pace(Arc::new(Mutex::new(Instant::now())));
        let of_body = pace.clone();
        let request = request.map(|body| {
            let pace = of_body;
            Self { body, pace }.boxed_unsync()
        });
        (request, pace)
    }
}

impl Pace {
    /// Begins anew.
    pub(super) fn restart(&self) {
        *self.lock() = Instant::now();
    }

    /// When the answer is due.
    pub(super) fn deadline(&self, limit: Duration) -> Instant {
        let last = *self.lock();
        last.checked_add(limit).unwrap_or(last)
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.pace.restart();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
