//! `cvm-agent attest` as a program, on a machine that looks like one of Azure: a software TPM with
//! Azure's key and report in it, a metadata service that quotes, and clients of every kind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod hub;
mod machine;
mod node;
mod proxy;
mod verified;
