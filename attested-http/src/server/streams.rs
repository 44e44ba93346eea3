//! HTTP/2's requests: each is a task, which ends if the peer does not take the answer.
//!
//! A peer that gives an answer no window blocks nothing that could be seen on the connection: the
//! answer's body is not asked for any more, that is all. So that is what is timed. What ends is the
//! one request, since the others may be those of somebody else behind the same proxy.
//!
//! I/O: none but waiting; starts tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

use super::activity::later;
use super::counters::Counters;

tokio::task_local! {
    /// Of the request whose task this is.
    static TAKING: Arc<Taking>;
}

/// Runs what a connection of HTTP/2 has to do for its requests.
#[derive(Clone)]
pub(super) struct Streams {
    stalled: Duration,
    counters: Arc<Counters>,
}

impl Streams {
    /// The peer has to take something of an answer within `stalled`.
    pub(super) fn new(stalled: Duration, counters: Arc<Counters>) -> Self {
        Self { stalled, counters }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let taking = Arc::<Taking>::default();
        let Self { stalled, counters } = self.clone();
        tokio::spawn(async move {
            let answering = TAKING.scope(Arc::clone(&taking), stream);
            tokio::select! {
                () = answering => {}
                // The stream is reset by being dropped, and whoever sends the answer hears of it.
                () = taking.stalled_for(stalled) => counters.stalled.add(),
            }
        });
    }
}

/// Since when it is the peer's turn to take something of an answer; `None` if it is not.
#[derive(Debug, Default)]
pub(super) struct Taking(Mutex<Option<Instant>>);

impl Taking {
    /// That of the request whose task this is, if it came over HTTP/2.
    pub(super) fn current() -> Option<Arc<Self>> {
        TAKING.try_with(Arc::clone).ok()
    }

    /// Notes whether it is the peer's turn, from now on.
    pub(super) fn turn(&self, is_peers: bool) {
        *self.lock() = is_peers.then(Instant::now);
    }

    async fn stalled_for(&self, limit: Duration) {
        loop {
            let since = *self.lock();
            let now = Instant::now();
            match since.map(|since| later(since, limit)) {
                Some(at) if at <= now => return,
                Some(at) => sleep_until(at).await,
                // A turn that begins meanwhile lasts beyond this.
                None => sleep_until(later(now, limit)).await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
