//! Azure's evidence, made with a software TPM and a metadata service on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod evidence;
mod imds;
mod machine;
mod vtpm;
