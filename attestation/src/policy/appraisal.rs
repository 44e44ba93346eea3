//! The outcome of an appraisal.
//!
//! I/O: none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use measurements::Sha256Digest;
use measurements::reference::{ReferenceValues, RegisterValue};

use crate::evidence::EvidenceKind;
use crate::verify::{TcbReport, Verified};

/// Whether a machine is to be trusted, and everything that says so or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    /// What kind of machine it is.
    pub kind: EvidenceKind,
    /// The comparison with every image for this kind of machine, in the policy's order. Empty if
    /// the policy names none, and then the machine is not trusted.
    pub comparisons: Vec<Comparison>,
    /// How up to date the platform is, and whether that will do.
    pub tcb: TcbAppraisal,
}

/// How up to date a platform is, and whether that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbAppraisal {
    /// Intel's judgement.
    pub report: TcbReport,
    /// The policy's.
    pub is_accepted: bool,
}

/// A machine compared with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The image's name.
    pub measurement_id: String,
    /// Every register that the image names, or the policy demands to be zero, by index.
    pub registers: Vec<RegisterComparison>,
}

/// One register, as it should be and as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterComparison {
    /// Its index.
    pub register: u8,
    /// Values, of which one is enough.
    pub expected: Vec<RegisterValue>,
    /// What the machine has; `None` if it has no such register.
    pub actual: Option<RegisterValue>,
}

impl Appraisal {
    /// Whether the machine runs an accepted image on a platform that is good enough.
    pub fn is_trusted(&self) -> bool {
        self.tcb.is_accepted && self.matched().is_some()
    }

    /// The first image that the machine's registers are those of, whatever its platform.
    pub fn matched(&self) -> Option<&str> {
        let matched = self.comparisons.iter().find(|image| image.is_equal());
        matched.map(|image| image.measurement_id.as_str())
    }

    /// The image that the machine differs least from; `None` if there is none to compare with.
    pub fn nearest(&self) -> Option<&Comparison> {
        let images = self.comparisons.iter();
        images.min_by_key(|image| image.differences().count())
    }

    /// The outcome in one line, with what is wrong.
    pub fn summary(&self) -> String {
        let status = self.tcb.report.status;
        let platform = match self.tcb.is_accepted {
            true => String::new(),
            false => {
                format!("; its platform's TCB status is {status}, which the policy does not accept")
            }
        };
        match (self.matched(), self.nearest()) {
            (Some(image), _) => format!("the machine runs {image}{platform}"),
            (None, Some(nearest)) => {
                let name = &nearest.measurement_id;
                let differences: Vec<String> =
                    nearest.differences().map(ToString::to_string).collect();
                let differences = differences.join(", ");
                format!(
                    "the machine runs no accepted image; {name} is nearest: {differences}{platform}"
                )
            }
            (None, None) => {
                let kind = self.kind;
                format!("the policy names no image for {kind} machines{platform}")
            }
        }
    }
}

impl Comparison {
    pub(super) fn new(
        reference: &ReferenceValues,
        verified: &Verified,
        untouched: &BTreeSet<u8>,
    ) -> Self {
        let untouched = match verified.kind() {
            EvidenceKind::AzureTdx => untouched.clone(),
            EvidenceKind::DcapTdx => BTreeSet::new(),
        };
        let zero = vec![RegisterValue::Sha256(Sha256Digest::ZERO)];
        let mut expected: BTreeMap<u8, Vec<RegisterValue>> = untouched
            .into_iter()
            .map(|register| (register, zero.clone()))
            .collect();
        expected.extend(reference.registers.clone());
        let registers = expected.into_iter().map(|(register, expected)| {
            let actual = verified.registers().get(&register).copied();
            RegisterComparison {
                register,
                expected,
                actual,
            }
        });
        Self {
            measurement_id: reference.measurement_id.clone(),
            registers: registers.collect(),
        }
    }

    /// Whether the machine runs this image. A comparison of nothing says no.
    pub fn is_equal(&self) -> bool {
        !self.registers.is_empty() && self.differences().next().is_none()
    }

    /// The registers that are not as they should be.
    pub fn differences(&self) -> impl Iterator<Item = &RegisterComparison> {
        self.registers
            .iter()
            .filter(|register| !register.is_equal())
    }
}

impl fmt::Display for RegisterComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected: Vec<String> = self.expected.iter().map(ToString::to_string).collect();
        let expected = expected.join(" or ");
        write!(f, "register {} is ", self.register)?;
        match self.actual {
            Some(actual) => write!(f, "{actual}")?,
            None => f.write_str("absent")?,
        }
        write!(f, ", expected {expected}")
    }
}

impl RegisterComparison {
    /// Whether the machine has one of the values.
    pub fn is_equal(&self) -> bool {
        self.actual
            .is_some_and(|actual| self.expected.contains(&actual))
    }
}
