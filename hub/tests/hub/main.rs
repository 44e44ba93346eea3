//! The real program, over HTTP, on SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod admin;
mod attested;
mod command_line;
mod configuration;
mod coverage;
mod documented;
mod durability;
mod health;
mod import;
mod log;
mod mutual;
mod node;
mod openapi;
mod registration;
mod reload;
mod secret_keys;
mod several;
mod start;
mod support;
