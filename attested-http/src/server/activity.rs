//! What a connection is waiting for, and since when.
//!
//! I/O: none but waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::limits::Limits;

/// One connection's, shared by its stream, its requests, and whoever gives out places.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    evicted: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests under way.
    requests: usize,
    /// Since when there are none.
    since: Instant,
    /// When the next request's first byte came.
    head: Option<Instant>,
    /// Whether what is read between requests is a request's head: HTTP/2 has more to say.
    has_heads: bool,
    /// Since when the peer takes nothing of what it is sent.
    blocked: Option<Instant>,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expired {
    /// No request came.
    Idle,
    /// No whole one.
    Head,
    /// The peer takes nothing.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            requests: 0,
            since: Instant::now(),
            head: None,
            has_heads: false,
            blocked: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            evicted: Notify::new(),
        })
    }

    /// Notes that HTTP begins. On a new connection the request is expected at once.
    pub(super) fn opened(&self, has_heads: bool) {
        let mut state = self.lock();
        state.since = Instant::now();
        state.has_heads = has_heads;
        state.head = has_heads.then(Instant::now);
    }

    /// Notes that a request is under way, until what this returns is dropped.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        let mut state = self.lock();
        state.requests = state.requests.saturating_add(1);
        state.head = None;
        UnderWay(Arc::clone(self))
    }

    pub(super) fn read(&self) {
        let mut state = self.lock();
        if state.requests == 0 && state.has_heads && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    pub(super) fn written(&self, is_blocked: bool) {
        let mut state = self.lock();
        match is_blocked {
            false => state.blocked = None,
            true if state.blocked.is_none() => state.blocked = Some(Instant::now()),
            true => {}
        }
    }

    /// Since when no request is under way.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.requests == 0).then_some(state.since)
    }

    /// Ends the connection for somebody else's sake.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Resolves when the peer has kept us waiting for too long.
    pub(super) async fn expired(&self, limits: &Limits) -> Expired {
        // A shorter limit may begin to count while we wait for a longer one.
        let soon = limits.request_head.min(limits.stalled);
        let soon = soon.checked_div(2).unwrap_or(soon);
        loop {
            let now = Instant::now();
            match self.deadline(limits) {
                Some((at, why)) if at <= now => return why,
                Some((at, _)) => sleep_until(at.min(later(now, soon))).await,
                None => sleep_until(later(now, soon)).await,
            }
        }
    }

    /// Resolves when, from now on, there was no request and nothing to write for as long as `limit`.
    pub(super) async fn quiet_for(&self, limit: Duration) {
        let mut quiet = Instant::now();
        loop {
            sleep_until(later(quiet, limit)).await;
            let now = Instant::now();
            let state = self.lock();
            match (state.requests, state.blocked) {
                (0, None) if later(state.since.max(quiet), limit) <= now => return,
                (0, None) => quiet = state.since.max(quiet),
                _ => quiet = now,
            }
        }
    }

    fn deadline(&self, limits: &Limits) -> Option<(Instant, Expired)> {
        let state = self.lock();
        let blocked = state.blocked;
        let blocked = blocked.map(|since| (later(since, limits.stalled), Expired::Stalled));
        let waiting = match (state.requests, state.head) {
            (0, Some(since)) => Some((later(since, limits.request_head), Expired::Head)),
            (0, None) => Some((later(state.since, limits.idle), Expired::Idle)),
            _ => None,
        };
        let deadlines = blocked.into_iter().chain(waiting);
        deadlines.min_by_key(|(at, _)| *at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `limit` after `at`; limits too long for a clock are the same as a month.
pub(super) fn later(at: Instant, limit: Duration) -> Instant {
    const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    at.checked_add(limit.min(MONTH)).unwrap_or(at)
}

/// A request is under way, until the last byte of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.since = Instant::now();
        }
    }
}
