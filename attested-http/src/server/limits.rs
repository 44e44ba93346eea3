//! What a client may take of the server: time, memory, connections.
//!
//! I/O: none.

use std::time::Duration;

/// Bounds on time, number and size, for one listening socket.
///
/// A handshake has bounds of its own, which the acceptor keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time. Beyond, a newcomer takes the place of a peer that holds more
    /// than the newcomer would, idle ones first; among equals that of whoever is idle for longest,
    /// or it is refused.
    pub connections: usize,
    /// Connections at the same time from one IPv4 address or one IPv6 /64. Beyond, a newcomer takes
    /// the place of one that is idle, or is refused.
    pub connections_per_peer: usize,
    /// How long a connection must be idle for its place to go to another of a peer that holds no less.
    pub patience: Duration,
    /// For one whole request head to arrive, from its first byte. Also for the first byte of a
    /// new connection.
    pub request_head: Duration,
    /// Longest request head, in bytes. HTTP/1.1 needs 8,192.
    pub head_bytes: usize,
    /// Most header fields in a request of HTTP/1.1.
    pub headers: usize,
    /// How long a connection without requests stays.
    pub idle: Duration,
    /// How long a peer may neither send any more of a request's body nor read any more of an
    /// answer, while the other side waits for that.
    pub stalled: Duration,
    /// After this time a connection gets no new requests; what is under way has as long as
    /// [`drain`](Self::drain).
    pub lifetime: Option<Duration>,
    /// After the order to stop: how long idle kept-alive connections stay, so that a health check
    /// on one of them is answered instead of reading an end of file.
    pub notice: Duration,
    /// After the order to stop: how long in all, until what is left is cut.
    pub drain: Duration,
    /// What HTTP/2 has beyond that.
    pub http2: Http2Limits,
}

/// Bounds of one connection that speaks HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Http2Limits {
    /// Requests at the same time.
    pub streams: u32,
    /// Bytes of one request's body that the peer may send ahead.
    pub stream_window: u32,
    /// Bytes of all bodies together that the peer may send ahead.
    pub connection_window: u32,
    /// Bytes of one answer that are kept for the peer to take.
    pub send_buffer: usize,
    /// Requests that the peer may take back before they were begun ("rapid reset").
    pub resets: usize,
    /// How often a connection is asked for a sign of life while requests are under way.
    pub ping: Duration,
    /// How long the sign may take.
    pub pong: Duration,
}

impl Default for Limits {
    /// For a server that anybody can reach and that streams.
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 128,
            patience: Duration::from_secs(1),
            request_head: Duration::from_secs(10),
            head_bytes: 64 << 10,
            headers: 128,
            idle: Duration::from_secs(120),
            stalled: Duration::from_secs(60),
            lifetime: None,
            notice: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            http2: Http2Limits::default(),
        }
    }
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            streams: 128,
            stream_window: 512 << 10,
            connection_window: 1 << 20,
            send_buffer: 256 << 10,
            resets: 20,
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
        }
    }
}
