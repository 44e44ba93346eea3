//! What a client may take of the server: time, memory, connections.
//!
//! I/O: none.

use std::time::Duration;

/// Longest request head that is read, in bytes. A client of ours sends some 200; this is the
/// least that hyper accepts.
pub(super) const REQUEST_HEAD: usize = 8192;

/// Most header fields in a request.
pub(super) const HEADERS: usize = 32;

/// Bounds on time and number. Constants in the shipped program; tests make shorter ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From accept to the end of the TLS handshake. Three round trips on a bad line take two
    /// seconds; who needs more holds a place for nothing.
    pub(super) handshake: Duration,
    /// For one whole request head to arrive. The clock also runs between requests, so that this
    /// is the idle time of a kept-alive connection too.
    pub(super) request_head: Duration,
    /// Whole life of a connection, whatever it does. It also bounds a client that sends requests
    /// and does not read the answers.
    pub(super) lifetime: Duration,
    /// After the order to stop: how long idle kept-alive connections stay, so that a health check
    /// on one of them reads 503 instead of an end of file.
    pub(super) notice: Duration,
    /// After the order to stop: how long in all, until what is left is cut.
    pub(super) drain: Duration,
    /// Connections at the same time. Each costs at most some 100 kB (TLS buffers and the request
    /// head), so all of them fit the unit's `MemoryMax=`, and its `LimitNOFILE=` is larger.
    pub(super) connections: usize,
    /// Connections at the same time from one IPv4 address or one IPv6 /64.
    pub(super) connections_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(10),
            lifetime: Duration::from_secs(60),
            notice: Duration::from_secs(1),
            drain: Duration::from_secs(10),
            connections: 256,
            connections_per_peer: 16,
        }
    }
}
