//! What happens, in numbers: for a metrics endpoint, since the log says nothing of strangers.
//!
//! I/O: none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use attestation::tls::Fault;

/// A number that others may read at any time.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number as it is now.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server's numbers. All but the two that are open only ever grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub accepted: Count,
    /// Connections that were closed at once, because too many were open.
    pub refused: Count,
    /// Connections that were closed for another peer's sake.
    pub evicted: Count,
    /// Connections that are open now.
    pub connections: Open,
    /// Handshakes that the peer, or the network, broke.
    pub handshakes_broken: Count,
    /// Handshakes with peers that are not what they have to be.
    pub handshakes_untrusted: Count,
    /// Handshakes in which this side could not do its part.
    pub handshakes_failed_here: Count,
    /// Handshakes that took too long.
    pub handshakes_too_slow: Count,
    /// Handshakes for which there was no place.
    pub handshakes_refused: Count,
    /// Connections that were closed since no request came, or no whole one.
    pub idle: Count,
    /// Connections of HTTP/1.1, and requests of HTTP/2, that were ended since the peer did not take
    /// its answer.
    pub stalled: Count,
    /// Requests that came.
    pub requests: Count,
    /// Requests that are under way now, until the last byte of the answer.
    pub requests_open: Open,
}

impl Counters {
    pub(super) fn handshake_failed(&self, fault: Fault) {
        match fault {
            Fault::Peer => &self.handshakes_broken,
            Fault::PeerIdentity => &self.handshakes_untrusted,
            Fault::Local => &self.handshakes_failed_here,
            Fault::Time => &self.handshakes_too_slow,
            Fault::Load => &self.handshakes_refused,
        }
        .add();
    }
}

/// How many there are of something now.
#[derive(Debug, Default)]
pub struct Open(Arc<Count>);

impl Open {
    /// The number as it is now.
    pub fn now(&self) -> u64 {
        self.0.now()
    }

    /// One more, until the guard is dropped.
    pub(super) fn enter(&self) -> Entered {
        self.0.add();
        Entered(Arc::clone(&self.0))
    }
}

/// One of those that are counted.
#[derive(Debug)]
pub(super) struct Entered(Arc<Count>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.subtract();
    }
}
