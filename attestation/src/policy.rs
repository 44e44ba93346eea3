//! Appraisal: whether what was proven is good enough, and register by register why not.
//!
//! A policy names the images that it accepts; there is none that accepts any.
//!
//! I/O: none.

mod appraisal;

use std::collections::BTreeSet;

use measurements::reference::ReferenceValues;

pub use self::appraisal::{Appraisal, Comparison, RegisterComparison, TcbAppraisal};
use crate::verify::{TcbReport, TcbStatus, Verified};

/// What is accepted: images, by their reference values, and TCB statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    references: Vec<ReferenceValues>,
    untouched: BTreeSet<u8>,
    tcb: TcbPolicy,
}

/// Which TCB statuses are accepted. Up to date always is, nothing else by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcbPolicy {
    also: BTreeSet<TcbStatus>,
}

/// Why something is no policy: it would accept any machine, or none ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// No image is named.
    #[error("expected reference values of at least one image, got none")]
    NoReferences,
    /// An image has no registers, or one of them no value.
    #[error("the reference values of {measurement_id:?} have no value for {what}")]
    NoValues {
        /// The image.
        measurement_id: String,
        /// `any register`, or which.
        what: String,
    },
}

impl TcbPolicy {
    /// Accepts what is up to date.
    pub fn up_to_date() -> Self {
        Self::default()
    }

    /// Accepts `status`, too, and no other that seems better or similar.
    #[must_use]
    pub fn or(mut self, status: TcbStatus) -> Self {
        self.also.insert(status);
        self
    }

    /// Whether a status is accepted.
    pub fn accepts(&self, status: TcbStatus) -> bool {
        status == TcbStatus::UpToDate || self.also.contains(&status)
    }

    /// Judges how up to date a platform is.
    pub fn appraise(&self, report: &TcbReport) -> TcbAppraisal {
        TcbAppraisal {
            report: report.clone(),
            is_accepted: self.accepts(report.status),
        }
    }
}

impl Policy {
    /// Accepts machines that run one of the images, and whose TCB `tcb` accepts.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if that would be any machine, or could never be one.
    pub fn new(references: Vec<ReferenceValues>, tcb: TcbPolicy) -> Result<Self, PolicyError> {
        if references.is_empty() {
            return Err(PolicyError::NoReferences);
        }
        for reference in &references {
            let without = |what: String| PolicyError::NoValues {
                measurement_id: reference.measurement_id.clone(),
                what,
            };
            if reference.registers.is_empty() {
                return Err(without("any register".to_owned()));
            }
            let mut registers = reference.registers.iter();
            if let Some((index, _)) = registers.find(|(_, values)| values.is_empty()) {
                return Err(without(format!("register {index}")));
            }
        }
        Ok(Self {
            references,
            untouched: BTreeSet::new(),
            tcb,
        })
    }

    /// Demands that these registers are zero on machines of Azure, where an image's reference
    /// values do not say otherwise.
    #[must_use]
    pub fn with_untouched_pcrs(mut self, registers: impl IntoIterator<Item = u8>) -> Self {
        self.untouched.extend(registers);
        self
    }

    /// Compares what was proven with every image of the same kind of machine.
    pub fn appraise(&self, verified: &Verified) -> Appraisal {
        let is_of_kind =
            |reference: &&ReferenceValues| verified.kind().matches(reference.attestation_type);
        let of_kind = self.references.iter().filter(is_of_kind);
        let comparisons = of_kind
            .map(|reference| Comparison::new(reference, verified, &self.untouched))
            .collect();
        Appraisal {
            kind: verified.kind(),
            comparisons,
            tcb: self.tcb.appraise(verified.tcb()),
        }
    }
}
