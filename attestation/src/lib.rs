//! Verifies evidence: what a confidential machine says about itself, and who vouches for it.
//!
//! Evidence comes from whoever wants to be trusted, so every parser here is bounded and none
//! panics. What was proven is a type that only the verifying function makes:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use attestation::tpm_quote::{self, AkPublic, QuoteError};
//!
//! /// Whether the machine whose TPM holds `ak` had exactly this in PCR 11 when asked.
//! fn is_as_expected(
//!     ak: &AkPublic,
//!     (quote, signature): (&[u8], &[u8]),
//!     nonce: &[u8],
//!     expected: [u8; 32],
//! ) -> Result<bool, QuoteError> {
//!     let claimed = BTreeMap::from([(11, expected)]);
//!     let verified = tpm_quote::verify(quote, signature, ak, &claimed, nonce)?;
//!     Ok(verified.pcr(11) == Some(&expected))
//! }
//! ```
//!
//! Left out: what a machine *should* measure to (crate `measurements`).
//!
//! I/O: none.

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

pub mod tpm_quote;
