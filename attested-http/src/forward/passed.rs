//! A body on its way through the proxy.
//!
//! I/O: none.

use std::pin::Pin;
use std::task::{Context, Poll};

use attestation::tls::BoxError;
use hyper::body::{Bytes, Frame, SizeHint};

use super::headers::strip_trailers;
use crate::body::{Body, TooLarge};

/// Passes data on, up to a limit, and trailers without what belongs in headers.
pub(super) struct Passed {
    body: Body,
    limit: Option<u64>,
    rest: u64,
}

impl Passed {
    pub(super) fn new(body: Body, limit: Option<u64>) -> Self {
        Self {
            body,
            limit,
            rest: limit.unwrap_or(u64::MAX),
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BoxError> {
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                strip_trailers(&mut trailers);
                return Ok(Frame::trailers(trailers));
            }
            Err(frame) => frame,
        };
        if let (Some(limit), Some(data)) = (self.limit, frame.data_ref()) {
            let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let rest = self.rest.checked_sub(size);
            self.rest = rest.ok_or(TooLarge { limit })?;
        }
        Ok(frame)
    }
}

impl hyper::body::Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map(|frame| frame.map(|frame| self.pass(frame?)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
