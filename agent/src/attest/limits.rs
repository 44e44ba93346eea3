//! What a client may take of the servers: time, memory, connections.
//!
//! I/O: none.

use std::time::Duration;

use attested_http::server::{Http2Limits, Limits};

/// For one connection that speaks HTTP/2: there are few, and nobody has much to send.
const HTTP2: Http2Limits = Http2Limits {
    streams: 8,
    stream_window: 64 << 10,
    connection_window: 64 << 10,
    send_buffer: 32 << 10,
    resets: 20,
    ping: Duration::from_secs(30),
    pong: Duration::from_secs(10),
};

/// For 7936, which anybody can reach and where a request and its answer take some kilobytes.
///
/// Each connection costs at most some 150 kB (TLS, the request head, HTTP/2), so all of them fit
/// the unit's `MemoryMax=`, and its `LimitNOFILE=` is larger. More than there are places for
/// handshakes, so that those are given out by the rules for handshakes.
pub(super) const PUBLIC: Limits = Limits {
    connections: 384,
    connections_per_peer: 16,
    patience: Duration::from_secs(1),
    request_head: Duration::from_secs(10),
    // The least that hyper accepts; a client of ours sends some 200 bytes.
    head_bytes: 8192,
    headers: 32,
    idle: Duration::from_secs(10),
    stalled: Duration::from_secs(10),
    // It also bounds a client that sends requests and does not read the answers.
    lifetime: Some(Duration::from_secs(60)),
    notice: Duration::from_secs(1),
    drain: Duration::from_secs(10),
    http2: HTTP2,
};

/// For the addresses that only this machine's services reach.
pub(super) const LOCAL: Limits = Limits {
    connections: 96,
    connections_per_peer: 96,
    patience: Duration::from_secs(1),
    request_head: Duration::from_secs(10),
    head_bytes: 32 << 10,
    headers: 100,
    idle: Duration::from_secs(120),
    stalled: Duration::from_secs(60),
    lifetime: None,
    notice: Duration::from_secs(1),
    drain: Duration::from_secs(10),
    http2: HTTP2,
};
