//! HTTP over attested connections.
//!
//! | module | what |
//! |---|---|
//! | [`server`] | accepts connections, has them prove what they have to, and answers HTTP on them |
//! | [`client`] | sends requests to one server, over connections that are kept and shared |
//! | [`forward`] | the reverse proxy between the two, and its rules about headers |
//! | [`claims`] | what of a verified peer goes into headers |
//!
//! Whoever is on the other side may be slow, wrong or hostile: everything is bounded in time, number
//! and size, and nobody's mistakes are written to the log one by one.
//!
//! Left out: the handshakes, which are [`attestation::tls`]'s, and what is answered.
//!
//! I/O: the sockets that it accepts and opens.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

pub mod body;
mod causes;
pub mod claims;
pub mod client;
pub mod forward;
pub mod server;
pub mod stream;

pub use attestation::tls::BoxError;
pub use body::Body;
pub use causes::Causes;
pub use claims::Claims;
pub use client::{Answer, Target, Upstream, UpstreamError};
pub use forward::Forwarder;
pub use server::{Peer, Server, Service};
