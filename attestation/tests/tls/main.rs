//! Attested TLS from both ends: every mode, every refusal, hostile peers, load, and the programs
//! it has to work with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic in a test is a failing test; tests run programs and write files"
)]

mod go;
mod go_azure;
mod hostile;
mod http;
mod load;
mod modes;
mod node;
mod parties;
mod relay;
mod relying_party;
mod resumption;
mod tampering;
