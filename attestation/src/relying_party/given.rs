//! Whether collateral that this side was given is of any use, before a peer is blamed for it.
//!
//! I/O: none.

use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::collateral::{Collateral, CollateralError, NotGenuine, PlatformKey};
use crate::pem;
use crate::roots::TrustRoots;

/// Certificates of a signer's chain.
const CHAIN: usize = 3;

/// Why the collateral that was given proves nothing about anybody. Evidence may be good or bad:
/// it cannot be told with this collateral.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableCollateral {
    /// It is not what Intel says about this platform.
    #[error("the collateral that was given is not Intel's word about this platform")]
    NotGenuine(#[from] NotGenuine),
    /// It is not valid now.
    #[error("the collateral that was given cannot be used")]
    NotValid(#[from] CollateralError),
    /// Who has signed it could not do so now.
    #[error("a certificate of the {part}'s signer is not valid at {now}")]
    Signer {
        /// Of which part.
        part: &'static str,
        /// When it was needed, seconds since 1970.
        now: u64,
    },
}

/// Refuses collateral that says nothing about the platform of this quote at `now`.
///
/// A platform that the root has not certified is left to the verifier, which refuses it: there is
/// nothing that collateral could say about it.
pub(super) fn check(
    collateral: &Collateral,
    td_quote: &[u8],
    roots: &TrustRoots,
    now: u64,
) -> Result<(), UnusableCollateral> {
    let Ok(platform) = PlatformKey::certified(td_quote, roots, now) else {
        return Ok(());
    };
    collateral.check_genuine(platform, roots)?;
    collateral.check_window(now)?;
    let parts = collateral.as_dcap();
    for (part, chain) in [
        ("TCB info", &parts.tcb_info_issuer_chain),
        ("QE identity", &parts.qe_identity_issuer_chain),
        ("PCK CRL", &parts.pck_crl_issuer_chain),
    ] {
        are_valid(chain, now).ok_or(UnusableCollateral::Signer { part, now })?;
    }
    Ok(())
}

/// Whether all certificates of a chain are valid at `now`; `None` also if they are malformed.
fn are_valid(chain: &str, now: u64) -> Option<()> {
    for der in pem::certificates(chain, CHAIN)? {
        let certificate = Certificate::from_der(&der).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let from = validity.not_before.to_unix_duration().as_secs();
        let until = validity.not_after.to_unix_duration().as_secs();
        (from..=until).contains(&now).then_some(())?;
    }
    Some(())
}
