//! `cvmctl verify`: judges evidence again that `cvmctl get --save` has kept.
//!
//! Everything is computed anew from what was shown; the verdict of then is not looked at. Whoever
//! made the directory may have chosen all that no signature covers. So what was kept may make the
//! judgement stricter, never more lenient: what it takes to be trusted is said on the command line.
//!
//! I/O: reads the directory, and expected values, images and roots.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use attestation::tls::{BoxError, PeerVerifier};
use attestation::{Collateral, CollateralSource, EvidenceVerifier, Proven, TcbStatus, Verifier};
use clap::Args;
use measurements::reference::ReferenceValues;

use crate::evidence_dir::{self, Kept, Overlooked};
use crate::exhibit::{Exhibit, ExhibitError};
use crate::expectations::{self, ExpectationArguments};
use crate::judgement::{self, CollateralPlace, Finding, Judgement, Occasion, Standard};
use crate::moment::Moment;
use crate::report::{Outcome, Report};
use crate::trust::{MAX_COLLATERAL, PlatformArguments};
use crate::{files, runtime};

/// How long it may take to fetch expected values, if an address is given.
const FETCHING: Duration = Duration::from_secs(60);

/// Judges kept evidence again, without a network, as of the time when it was shown.
///
/// What was kept may make the judgement stricter, never more lenient: without expected values, or
/// --kept-expectations, it ends with exit status 2 at best; and what was overlooked then, such as a
/// TCB status, has to be overlooked here again. Test roots are never taken from the directory.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct VerifyArguments {
    /// What `cvmctl get --save` has written
    directory: PathBuf,

    /// Judge as of another time, in UTC, such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,

    /// Compare with the values in the directory, knowing who has kept them: whoever made the
    /// directory chose them
    #[arg(long, conflicts_with_all = ["expected_measurements", "image", "no_expectations"])]
    kept_expectations: bool,

    /// Use the collateral in this file instead of what was kept
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    expectations: ExpectationArguments,

    #[command(flatten)]
    platform: PlatformArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  the machine that has shown it was to be trusted, by what the command line says
  1  it was not: evidence refused, another image, or a TCB status that is not accepted
  2  could not tell: files missing, damaged or malformed, no collateral or certificate, nothing to
     compare with, or nothing but what the directory says";

/// Runs the command. With `--json`, an error is a document, too.
pub(crate) fn run(arguments: &VerifyArguments) -> anyhow::Result<Report> {
    let report = runtime::start(false).and_then(|runtime| runtime.block_on(verify(arguments)));
    judgement::or_document(report, arguments.json)
}

async fn verify(arguments: &VerifyArguments) -> anyhow::Result<Report> {
    let kept = evidence_dir::load(&arguments.directory)
        .with_context(|| format!("read the evidence in {}", arguments.directory.display()))?;
    let time = arguments.at.unwrap_or(kept.time);
    let (collateral, place) = collateral(arguments, &kept)?;
    let case = Case {
        kept: &kept,
        collateral,
        time,
    };
    let own = arguments.expectations.are_given() || arguments.expectations.no_expectations;
    let demands = Demands {
        references: match own {
            true => arguments.expectations.load(FETCHING).await?,
            false => kept.references.clone(),
        },
        is_waived: arguments.expectations.no_expectations,
        platform: arguments.platform.clone(),
    };
    ensure!(
        !arguments.kept_expectations || !kept.references.is_empty(),
        "expected values in {}, got none: nothing was compared when it was kept",
        arguments.directory.display()
    );
    let mut judgement = case.judge(&demands).await?;
    if !own {
        let lenient = case.judge(&demands.as_kept(&kept.overlooked)).await?;
        let missing = unsaid(arguments, &lenient);
        if lenient.outcome == Outcome::Good && !missing.is_empty() {
            let missing = missing.join("; and ");
            judgement.withhold(format!(
                "; only the directory says that this is good enough: {missing}"
            ));
        }
    }
    if kept.exhibit.certificate.is_none() && judgement.outcome == Outcome::Good {
        judgement.withhold(format!("; but {NO_CERTIFICATE}"));
    }
    report(arguments, kept, &judgement, time, place, own)
}

const NO_CERTIFICATE: &str = "whose TLS key it is about cannot be told: no certificate was kept";

/// What is judged.
struct Case<'a> {
    kept: &'a Kept,
    collateral: Option<Collateral>,
    time: Moment,
}

/// By what.
struct Demands {
    references: Vec<ReferenceValues>,
    is_waived: bool,
    platform: PlatformArguments,
}

impl Demands {
    /// The same, and all overlooked that was overlooked when the evidence was kept. Nobody is
    /// trusted by this: it shows what would have to be said for that.
    fn as_kept(&self, kept: &Overlooked) -> Self {
        let mut platform = self.platform.clone();
        platform.accept_tcb_status.extend(&kept.accepted);
        platform.override_azurev6_tcbinfo |= kept.azure_v6_tcb;
        Self {
            references: self.references.clone(),
            is_waived: self.is_waived || kept.expectations,
            platform,
        }
    }
}

impl Case<'_> {
    async fn judge(&self, demands: &Demands) -> anyhow::Result<Judgement> {
        let trust = demands.platform.load()?;
        let standard = Standard {
            policy: expectations::policy(&demands.references, &trust.tcb)?,
            tcb: trust.tcb,
            is_waived: demands.is_waived,
            kind: None,
        };
        let exhibit = &self.kept.exhibit;
        let collateral = self.collateral.clone();
        let proof = prove(exhibit, trust.verifier, collateral, self.time).await?;
        Ok(Judgement::of(exhibit.kind, proof, &standard))
    }
}

/// What this judgement rests on that the command line does not say: each in words that name the
/// flag which says it.
fn unsaid(arguments: &VerifyArguments, lenient: &Judgement) -> Vec<String> {
    let mut missing = Vec::new();
    match lenient.finding {
        Finding::Appraised { .. } if !arguments.kept_expectations => missing.push(
            "give your own values with --image or --expected-measurements, or say \
             --kept-expectations if you know who has kept these"
                .to_owned(),
        ),
        Finding::Uncompared { .. } => missing.push(
            "use --image or --expected-measurements, or repeat --no-expectations if any image \
             will do"
                .to_owned(),
        ),
        _ => {}
    }
    let platform = &arguments.platform;
    if let Some(tcb) = lenient.tcb() {
        let status = tcb.report.status;
        if status != TcbStatus::UpToDate && !platform.accept_tcb_status.contains(&status) {
            missing.push(format!(
                "repeat --accept-tcb-status {status} if that will do"
            ));
        }
        if tcb.report.azure_v6_override && !platform.override_azurev6_tcbinfo {
            missing.push("repeat --override-azurev6-tcbinfo if that will do".to_owned());
        }
    }
    missing
}

fn report(
    arguments: &VerifyArguments,
    kept: Kept,
    judgement: &Judgement,
    time: Moment,
    place: String,
    own: bool,
) -> anyhow::Result<Report> {
    let mut notes = Vec::new();
    if !own && !kept.references.is_empty() {
        notes.push(format!(
            "the expected values are those in {}, as good as whoever kept them",
            arguments.directory.display()
        ));
    }
    let exhibit = &kept.exhibit;
    let occasion = Occasion {
        protocol: exhibit.challenge.protocol(),
        kind: exhibit.kind,
        document_size: exhibit.document.len(),
        time,
        has_key: exhibit.certificate.is_some(),
        collateral: CollateralPlace::File(place),
        is_replay: true,
        notes,
        url: kept.url,
        address: kept.address,
    };
    let text = match arguments.json {
        true => {
            let document = judgement::document(judgement, &occasion);
            serde_json::to_string_pretty(&document)? + "\n"
        }
        false => judgement::text(judgement, &occasion, &[]),
    };
    let outcome = judgement.outcome;
    Ok(Report { text, outcome })
}

/// The collateral, and where it is from; `None` if there is none.
fn collateral(
    arguments: &VerifyArguments,
    kept: &Kept,
) -> anyhow::Result<(Option<Collateral>, String)> {
    match &arguments.collateral {
        Some(path) => {
            let collateral = Collateral::parse(&files::read(path, MAX_COLLATERAL)?)
                .with_context(|| format!("read the collateral in {}", path.display()))?;
            Ok((Some(collateral), path.display().to_string()))
        }
        None => {
            let place = arguments.directory.display().to_string();
            Ok((kept.collateral.clone(), place))
        }
    }
}

/// Verifies as the connection would have been.
async fn prove(
    exhibit: &Exhibit,
    verifier: Verifier,
    collateral: Option<Collateral>,
    time: Moment,
) -> anyhow::Result<Result<Proven, BoxError>> {
    let binding = match exhibit.binding() {
        Ok(binding) => binding,
        // What is missing here was not missing then: nobody is refused for it.
        Err(ExhibitError::NoCertificate) => bail!(NO_CERTIFICATE),
        Err(error) => return Ok(Err(error.into())),
    };
    let shown = exhibit.shown(&binding);
    let Some(collateral) = collateral else {
        return match shown.evidence() {
            Ok(_) => bail!("no collateral was kept: use --collateral FILE"),
            Err(error) => Ok(Err(error.into())),
        };
    };
    let source = CollateralSource::Given(Arc::new(collateral));
    let verifier = EvidenceVerifier::new(verifier, source, Arc::new(move || time.0));
    Ok(verifier.verify(shown).await)
}
