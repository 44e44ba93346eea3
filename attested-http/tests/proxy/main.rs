//! Requests through both proxies, and what becomes of those that should not pass.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod chain;
mod headers;
mod hostile;
mod stopping;
mod upstream;

#[path = "../support/mod.rs"]
mod support;
