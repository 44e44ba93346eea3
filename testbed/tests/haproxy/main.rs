//! The configuration that the BuilderNet layer renders for HAProxy, and HAProxy itself with it, on loopback:
//! who gets through, who is told to wait, and what upstreams are told.
//!
//! The rendered text is the image's but for the addresses that it listens on and forwards to, and where the
//! certificate is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod client;
mod forwarding;
mod limits;
mod proxy;
mod reload;
mod rendered;
mod upstream;

/// Whether HAProxy is there.
fn is_there() -> bool {
    testkit::needed::programs(&["haproxy"])
}
