//! Both sides' evidence: how this machine makes its own, and who judges the other's.
//!
//! I/O: looks for the machine's hardware; reads measurements and whatever says whom to trust.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use attestation::{Appraiser, CollateralSource, EvidenceKind, EvidenceVerifier};
use attester::{Choice, PlatformAttester, Settings};

use super::arguments::{AttestationChoice, MachineArguments};
use super::quotes::{Quotes, Recorded};
use crate::trust::TrustArguments;
use crate::{expectations, files};

/// What makes this machine's evidence; `None` if it is to prove nothing.
pub(super) fn own(
    choice: AttestationChoice,
    machine: &MachineArguments,
    quotes: &Quotes,
) -> anyhow::Result<Option<Recorded<PlatformAttester>>> {
    let choice = match choice {
        AttestationChoice::None | AttestationChoice::Dummy => return Ok(None),
        AttestationChoice::Auto => Choice::Auto,
        AttestationChoice::AzureTdx => Choice::Kind(EvidenceKind::AzureTdx),
        AttestationChoice::DcapTdx => Choice::Kind(EvidenceKind::DcapTdx),
    };
    let settings = Settings {
        imds: machine.imds.clone(),
        tpm: machine.tpm.clone(),
        ..Settings::default()
    };
    let attester = attester::open(choice, &settings)
        .context("make evidence of this machine (--…-attestation-type=none proves nothing)")?;
    Ok(Some(Recorded::new(attester, quotes.clone())))
}

/// Who judges the other side: it must run one of the images in `measurements`.
pub(super) fn judge(
    measurements: &Path,
    trust: &TrustArguments,
    quotes: &Quotes,
) -> anyhow::Result<Recorded<Appraiser>> {
    let place = measurements.display().to_string();
    let bytes = files::read(measurements, expectations::MAX_VALUES)?;
    let references = expectations::parse(&place, bytes)?;
    let trusted = trust.platform.load()?;
    if !trusted.roots.are_pinned() {
        tracing::warn!(
            "DANGER: another root is trusted than Intel's, whose owner can make any evidence"
        );
    }
    let policy = expectations::policy(&references, &trusted.tcb)?;
    let policy = policy.with_context(|| format!("expected images in {place}, got none"))?;

    let clock = Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    });
    let source = trust
        .collateral
        .source(&trusted.roots, Arc::clone(&clock) as _)?;
    if let CollateralSource::Service(service) = &source {
        let service = Arc::clone(service);
        tokio::spawn(async move { service.keep_fresh().await });
    }
    let verifier = EvidenceVerifier::new(trusted.verifier, source, clock);
    Ok(Recorded::new(
        Appraiser::new(verifier, policy),
        quotes.clone(),
    ))
}
