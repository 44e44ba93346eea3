//! `cvm-agent boot` as a program, beside `cvm-agent attest`: what a hub may do to it, and what it makes
//! of that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod check_in;
mod disk;
mod hub;
mod machine;
mod node;
mod secrets;
mod signers;
mod stages;
mod switches;
mod templates;
