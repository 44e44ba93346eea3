//! Makes evidence of the machine it runs on, through `attestation`'s trait `Attester`.
//!
//! [`mod@detect`] tells what machine it is, [`azure`] makes evidence with the vTPM of an Azure machine
//! and the quotes that its host sells, [`tdx`] with the kernel of a TDX machine; [`tpm`] is how one
//! talks to a TPM. All three read what a host or a device says, and a host is not trusted: every
//! answer is bounded, parsed without panic, and checked against the rest before it is sent, so that
//! what is wrong is an error here instead of evidence that every verifier refuses.
//!
//! ```no_run
//! use attestation::{Attester, Binding};
//! use attester::{Choice, Settings};
//!
//! async fn document(binding: &Binding) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let attester = attester::open(Choice::Auto, &Settings::default())?;
//!     Ok(attester.attest(binding).await?.to_document())
//! }
//! ```
//!
//! Left out: verifying evidence and the protocols that carry it (crate `attestation`).
//!
//! I/O: the TPM's device, Azure's metadata service, configfs, sysfs; all below what
//! [`Settings`] names.

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

pub mod azure;
pub mod detect;
mod patience;
pub mod tdx;
pub mod tpm;

pub use azure::AzureAttester;
pub use detect::{Choice, OpenError, PlatformAttester, Settings, detect, open};
pub use patience::Patience;
pub use tdx::TdxAttester;
