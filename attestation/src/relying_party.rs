//! Verifies the peers of connections: their evidence, with the collateral that it takes, against
//! a policy or for a caller that has one.
//!
//! I/O: none but that of [`fetch`](crate::fetch); the time is from a [`Clock`].

mod given;

use std::sync::Arc;

pub use self::given::UnusableCollateral;
use crate::collateral::Collateral;
use crate::fetch::{Clock, CollateralService};
use crate::policy::{Appraisal, Policy};
use crate::tls::{BoxError, PeerVerifier, Shown};
use crate::verify::{Verified, Verifier};

/// Where collateral comes from.
#[derive(Clone)]
pub enum CollateralSource {
    /// Fetched when it is needed, and kept.
    Service(Arc<CollateralService>),
    /// Given, whatever the platform. If it is of no use for a peer that Intel has certified, this
    /// is this side's own fault: the error is [`UnusableCollateral`], not one of the evidence.
    Given(Arc<Collateral>),
}

impl CollateralSource {
    async fn of(
        &self,
        td_quote: &[u8],
        verifier: &Verifier,
        clock: &Clock,
    ) -> Result<Arc<Collateral>, BoxError> {
        match self {
            Self::Service(service) => Ok(service.collateral_for(td_quote).await?),
            Self::Given(collateral) => {
                given::check(collateral, td_quote, verifier.roots(), clock())?;
                Ok(Arc::clone(collateral))
            }
        }
    }
}

/// Verifies that a peer is a genuine machine, whichever image it runs.
///
/// Who uses it has to appraise what was proven; [`Appraiser`] does both.
#[derive(Clone)]
pub struct EvidenceVerifier {
    verifier: Arc<Verifier>,
    collateral: CollateralSource,
    clock: Clock,
}

/// What a peer has proven, and with what.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The claims.
    pub verified: Verified,
    /// The collateral that it took, to be kept with the evidence.
    pub collateral: Arc<Collateral>,
    /// At which time it was proven, in seconds since 1970.
    pub time: u64,
}

impl EvidenceVerifier {
    /// Verifies with `verifier` and collateral from `collateral`, as of `clock`.
    pub fn new(verifier: Verifier, collateral: CollateralSource, clock: Clock) -> Self {
        Self {
            verifier: Arc::new(verifier),
            collateral,
            clock,
        }
    }
}

impl PeerVerifier for EvidenceVerifier {
    type Claims = Proven;

    async fn verify(&self, shown: Shown<'_>) -> Result<Proven, BoxError> {
        let evidence = shown.evidence()?;
        let source = &self.collateral;
        let collateral = source
            .of(evidence.td_quote(), &self.verifier, &self.clock)
            .await?;
        let time = (self.clock)();
        let verifier = Arc::clone(&self.verifier);
        let binding = shown.binding.clone();
        // Some milliseconds of arithmetic, during which nobody else's connection should wait.
        let verifying = tokio::task::spawn_blocking(move || {
            let verified = verifier.verify(&evidence, &collateral, &binding, time);
            verified.map(|verified| Proven {
                verified,
                collateral,
                time,
            })
        });
        Ok(verifying.await??)
    }
}

/// Verifies that a peer is a genuine machine and runs an image that a policy accepts.
#[derive(Clone)]
pub struct Appraiser {
    verifier: EvidenceVerifier,
    policy: Arc<Policy>,
}

/// What a trusted peer has proven, and what made it trusted.
#[derive(Clone, Debug)]
pub struct Appraised {
    /// What it has proven.
    pub proven: Proven,
    /// The outcome, which is that it is trusted.
    pub appraisal: Appraisal,
}

/// A peer is a genuine machine, but not one that the policy accepts.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.summary())]
pub struct NotTrusted(pub Box<Appraisal>);

impl Appraiser {
    /// Verifies with `verifier`, and refuses whoever `policy` does not accept.
    pub fn new(verifier: EvidenceVerifier, policy: Policy) -> Self {
        Self {
            verifier,
            policy: Arc::new(policy),
        }
    }
}

impl PeerVerifier for Appraiser {
    type Claims = Appraised;

    async fn verify(&self, shown: Shown<'_>) -> Result<Appraised, BoxError> {
        let proven = self.verifier.verify(shown).await?;
        let appraisal = self.policy.appraise(&proven.verified);
        if !appraisal.is_trusted() {
            return Err(NotTrusted(Box::new(appraisal)).into());
        }
        Ok(Appraised { proven, appraisal })
    }
}
