//! Verifies evidence: what a confidential machine says about itself, and who vouches for it.
//!
//! Evidence comes from whoever wants to be trusted, so every parser here is bounded and none
//! panics. What was proven is a type that only the verifying function makes, and whether that is
//! good enough is another's question:
//!
//! ```
//! use attestation::{Binding, Collateral, Evidence, EvidenceKind, Policy, TrustRoots, Verifier};
//!
//! /// Whether the machine behind a TLS connection runs an image that `policy` names.
//! fn is_trusted(
//!     document: &[u8],
//!     collateral: &Collateral,
//!     (key, nonce): (&[u8], &[u8]),
//!     now: u64,
//!     policy: &Policy,
//! ) -> Result<bool, Box<dyn std::error::Error>> {
//!     let evidence = Evidence::parse_atls(EvidenceKind::AzureTdx, document)?;
//!     let verifier = Verifier::new(TrustRoots::pinned());
//!     let verified = verifier.verify(&evidence, collateral, &Binding::atls(key, nonce), now)?;
//!     let appraisal = policy.appraise(&verified);
//!     for difference in appraisal.nearest().iter().flat_map(|image| image.differences()) {
//!         println!("{difference:?}");
//!     }
//!     Ok(appraisal.is_trusted())
//! }
//! ```
//!
//! Left out: what a machine *should* measure to (crate `measurements`), and making evidence: the
//! hardware belongs to the programs, which implement [`Attester`].
//!
//! I/O: none, but for [`fetch`]: Intel's collateral from the network and in files.

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

pub mod attester;
pub mod binding;
pub mod collateral;
pub mod evidence;
pub mod fetch;
mod hash;
mod pem;
pub mod policy;
pub mod relying_party;
mod roots;
pub mod td_quote;
pub mod tls;
pub mod tpm_quote;
pub mod verify;

pub use attester::{AttestError, Attester, Attesting};
pub use binding::Binding;
pub use collateral::Collateral;
pub use evidence::{Evidence, EvidenceKind};
pub use policy::{Appraisal, Policy, TcbPolicy};
pub use relying_party::{
    Appraised, Appraiser, CollateralSource, EvidenceVerifier, NotTrusted, Proven,
};
pub use roots::TrustRoots;
pub use verify::{TcbStatus, Verified, Verifier, VerifyError};
