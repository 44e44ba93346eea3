//! What to think of a machine that has shown evidence, and why: the part that `cvmctl get` and
//! `cvmctl verify` have in common.
//!
//! I/O: none.

mod coverage;
mod human;
mod json;
mod statements;

use std::error::Error;

use attestation::fetch::FetchError;
use attestation::policy::{Comparison, TcbAppraisal};
use attestation::relying_party::UnusableCollateral;
use attestation::tls::{BoxError, Protocol};
use attestation::verify::VerifyError;
use attestation::{Appraisal, EvidenceKind, Policy, Proven, TcbPolicy};

pub(crate) use self::human::text;
pub(crate) use self::json::{document, measurements_file};
use crate::measure::Name;
use crate::moment::Moment;
use crate::report::{Outcome, Report};

/// What a machine is judged by.
pub(crate) struct Standard {
    /// `None` if there is nothing to compare with.
    pub(crate) policy: Option<Policy>,
    pub(crate) tcb: TcbPolicy,
    /// Whether nothing to compare with was asked for.
    pub(crate) is_waived: bool,
    /// The one kind of machine that will do; `None` if any will.
    pub(crate) kind: Option<EvidenceKind>,
}

/// When, where and how evidence was shown.
pub(crate) struct Occasion {
    pub(crate) url: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) kind: EvidenceKind,
    pub(crate) document_size: usize,
    pub(crate) time: Moment,
    /// Whether the connection had a key; else the evidence is about nobody's.
    pub(crate) has_key: bool,
    pub(crate) collateral: CollateralPlace,
    /// Whether it is judged again, from what was kept.
    pub(crate) is_replay: bool,
    /// What has to be said besides.
    pub(crate) notes: Vec<String>,
}

/// Where collateral is from. It makes no difference to whether it is genuine, but to how old it
/// may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CollateralPlace {
    /// A file; nobody was asked.
    File(String),
    /// A file of the cache, with what some service said at this time.
    Kept { directory: String, at: Moment },
    /// A service, or what was kept of its answers.
    Service {
        service: String,
        kept_in: Option<String>,
    },
}

impl std::fmt::Display for CollateralPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(place) => f.write_str(place),
            Self::Kept { directory, at } => write!(f, "{directory}, fetched at {at}"),
            Self::Service {
                service,
                kept_in: None,
            } => f.write_str(service),
            Self::Service {
                service,
                kept_in: Some(directory),
            } => write!(f, "{service}, or kept in {directory}"),
        }
    }
}

/// How far verification and appraisal came.
pub(crate) enum Finding {
    /// Something is missing here that verification takes.
    Unverifiable,
    /// The evidence proves nothing, or another kind of machine.
    Refused,
    /// Proven, and compared.
    Appraised {
        proven: Box<Proven>,
        appraisal: Box<Appraisal>,
    },
    /// Proven, with nothing to compare with.
    Uncompared {
        proven: Box<Proven>,
        tcb: TcbAppraisal,
    },
}

/// What to think of a machine.
pub(crate) struct Judgement {
    pub(crate) finding: Finding,
    pub(crate) outcome: Outcome,
    /// In one line.
    pub(crate) summary: String,
}

impl Judgement {
    /// Judges what verification has found out.
    pub(crate) fn of(
        kind: EvidenceKind,
        proof: Result<Proven, BoxError>,
        standard: &Standard,
    ) -> Self {
        if let Some(expected) = standard.kind.filter(|expected| *expected != kind) {
            let summary = format!("expected {expected} evidence, got {kind}");
            return Self::new(Finding::Refused, Outcome::Bad, summary);
        }
        match (proof, &standard.policy) {
            (Err(error), _) => Self::unproven(kind, &*error),
            (Ok(proven), Some(policy)) => Self::appraised(proven, policy),
            (Ok(proven), None) => Self::uncompared(proven, standard),
        }
    }

    fn appraised(proven: Proven, policy: &Policy) -> Self {
        let appraisal = Box::new(policy.appraise(&proven.verified));
        let (outcome, summary) = match coverage::decisive(&appraisal) {
            Some(image) if appraisal.is_trusted() => {
                let name = &image.measurement_id;
                match coverage::missing_program(&appraisal, image) {
                    None => (Outcome::Good, format!("the machine runs {name}")),
                    Some(register) => {
                        let summary = format!(
                            "a genuine machine, and all that is expected of {name} is so; but that \
                             says nothing about what it runs: expected a value of {register}, got none"
                        );
                        (Outcome::Undecided, summary)
                    }
                }
            }
            _ => (Outcome::Bad, appraisal.summary()),
        };
        let proven = Box::new(proven);
        Self::new(Finding::Appraised { proven, appraisal }, outcome, summary)
    }

    fn uncompared(proven: Proven, standard: &Standard) -> Self {
        let tcb = standard.tcb.appraise(proven.verified.tcb());
        let (outcome, summary) = match (tcb.is_accepted, standard.is_waived) {
            (false, _) => {
                let status = tcb.report.status;
                let summary = format!(
                    "a genuine machine, whose platform's TCB status is {status}, which is not accepted"
                );
                (Outcome::Bad, summary)
            }
            (true, true) => {
                let summary = "a genuine machine, whatever it runs: NOTHING WAS COMPARED";
                (Outcome::Good, summary.to_owned())
            }
            (true, false) => {
                let summary = "a genuine machine, but NOTHING WAS COMPARED: use \
                    --expected-measurements or --image, or --no-expectations if any image will do";
                (Outcome::Undecided, summary.to_owned())
            }
        };
        let proven = Box::new(proven);
        Self::new(Finding::Uncompared { proven, tcb }, outcome, summary)
    }

    /// The evidence was refused, or could not be verified for want of collateral.
    fn unproven(kind: EvidenceKind, error: &(dyn Error + Send + Sync + 'static)) -> Self {
        let fetching = error.downcast_ref::<FetchError>();
        let verifying = error.downcast_ref::<VerifyError>();
        let missing = matches!(
            fetching,
            Some(FetchError::Service { .. } | FetchError::Pausing { .. })
        ) || matches!(
            verifying,
            Some(VerifyError::Collateral(_) | VerifyError::OtherPlatform { .. })
        ) || error.is::<UnusableCollateral>();
        let reason = chain(error);
        match missing {
            true => {
                let summary = format!("the {kind} evidence cannot be verified: {reason}");
                Self::new(Finding::Unverifiable, Outcome::Undecided, summary)
            }
            false => {
                let summary = format!("the {kind} evidence is refused: {reason}");
                Self::new(Finding::Refused, Outcome::Bad, summary)
            }
        }
    }

    fn new(finding: Finding, outcome: Outcome, summary: String) -> Self {
        Self {
            finding,
            outcome,
            summary,
        }
    }

    /// Takes back that the machine can be trusted: not all that was asked for was done.
    pub(crate) fn withhold(&mut self, reason: String) {
        self.outcome = Outcome::Undecided;
        self.summary.push_str(&reason);
    }

    /// The outcome in one word, and in one line.
    pub(crate) fn verdict(&self) -> (&'static str, &str) {
        (word(self.outcome), &self.summary)
    }

    /// What was proven, if anything was.
    pub(crate) fn proven(&self) -> Option<&Proven> {
        match &self.finding {
            Finding::Appraised { proven, .. } | Finding::Uncompared { proven, .. } => Some(proven),
            Finding::Unverifiable | Finding::Refused => None,
        }
    }

    pub(crate) fn tcb(&self) -> Option<&TcbAppraisal> {
        match &self.finding {
            Finding::Appraised { appraisal, .. } => Some(&appraisal.tcb),
            Finding::Uncompared { tcb, .. } => Some(tcb),
            Finding::Unverifiable | Finding::Refused => None,
        }
    }

    fn comparisons(&self) -> &[Comparison] {
        match &self.finding {
            Finding::Appraised { appraisal, .. } => &appraisal.comparisons,
            _ => &[],
        }
    }

    /// The comparison that decides: with the image that the machine runs, or with the nearest.
    fn decisive(&self) -> Option<&Comparison> {
        match &self.finding {
            Finding::Appraised { appraisal, .. } => coverage::decisive(appraisal),
            _ => None,
        }
    }
}

/// A command's report. Where a document was asked for, an error becomes one, too.
pub(crate) fn or_document(
    report: anyhow::Result<Report>,
    is_document: bool,
) -> anyhow::Result<Report> {
    match report {
        Err(error) if is_document => {
            let outcome = Outcome::Undecided;
            let fields = json::outcome(outcome, &format!("{error:#}"));
            Ok(Report {
                text: serde_json::to_string_pretty(&fields)? + "\n",
                outcome,
            })
        }
        report => report,
    }
}

/// An outcome's name in documents.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "trusted",
        Outcome::Bad => "not-trusted",
        Outcome::Undecided => "undecided",
    }
}

/// A register's name on a kind of machine.
fn register_name(kind: EvidenceKind, index: u8) -> Name {
    match (kind, index.checked_sub(1)) {
        (EvidenceKind::DcapTdx, None) => Name::Mrtd,
        (EvidenceKind::DcapTdx, Some(rtmr)) => Name::Rtmr(rtmr),
        (EvidenceKind::AzureTdx, _) => Name::Pcr(index),
    }
}

/// An error with its causes. A cause that says nothing new is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
