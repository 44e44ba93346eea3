//! What is predicted for an image, for a machine with a vTPM or for a bare TDX guest.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;

use measurements::reference::{AttestationType, ReferenceValues, RegisterMatch};
use measurements::tdx::TdxPrediction;
use measurements::{Prediction, Register};
use serde::{Deserialize, Serialize};

/// The registers of one kind of machine.
#[derive(Debug)]
pub(super) enum Predicted {
    Vtpm(Prediction),
    Tdx(TdxPrediction),
}

/// A register's name: in JSON `4` or `rtmr1`, in text `PCR 4` or `RTMR1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Name {
    Pcr(u8),
    Mrtd,
    Rtmr(u8),
}

impl Name {
    /// The name of a register of published values, whose indices depend on the kind of machine.
    pub(super) fn published(kind: AttestationType, index: u8) -> Self {
        match (kind, index.checked_sub(1)) {
            (AttestationType::DcapTdx | AttestationType::GcpTdx, Some(rtmr)) => Self::Rtmr(rtmr),
            (AttestationType::DcapTdx | AttestationType::GcpTdx, None) => Self::Mrtd,
            _ => Self::Pcr(index),
        }
    }
}

impl Predicted {
    /// The registers whose events are known.
    pub(super) fn registers(&self) -> BTreeMap<Name, &Register> {
        let (registers, name): (_, fn(u8) -> Name) = match self {
            Self::Vtpm(prediction) => (&prediction.registers, Name::Pcr),
            Self::Tdx(prediction) => (&prediction.registers, Name::Rtmr),
        };
        registers
            .iter()
            .map(|(index, register)| (name(*index), register))
            .collect()
    }

    /// Registers that nothing is measured into, so that they must be zero.
    pub(super) fn zero(&self) -> Vec<Name> {
        match self {
            Self::Vtpm(prediction) => Prediction::UNTOUCHED
                .into_iter()
                .filter(|index| !prediction.registers.contains_key(index))
                .map(Name::Pcr)
                .collect(),
            Self::Tdx(_) => vec![Name::Rtmr(3)],
        }
    }

    pub(super) fn notes(&self) -> &[String] {
        match self {
            Self::Vtpm(prediction) => &prediction.notes,
            Self::Tdx(prediction) => &prediction.notes,
        }
    }

    /// Registers that an image leads to on this kind of machine, but that are not predicted for
    /// this one. PCRs that the stub measures nothing into are not among them.
    pub(super) fn unpredicted(&self) -> Vec<Name> {
        let registers = self.registers();
        self.unpredicted_of(|name| registers.contains_key(&name), self.notes())
    }

    /// The same of another prediction for this kind of machine.
    pub(super) fn unpredicted_of(&self, has: impl Fn(Name) -> bool, notes: &[String]) -> Vec<Name> {
        let needed: &[Name] = match self {
            Self::Vtpm(_) => &[Name::Pcr(4), Name::Pcr(9), Name::Pcr(11)],
            Self::Tdx(_) => &[Name::Rtmr(1), Name::Rtmr(2)],
        };
        let is_noted = |name: &Name| {
            let start = format!("{name} is not predicted");
            notes.iter().any(|note| note.starts_with(&start))
        };
        let missing = needed.iter().filter(|name| !has(**name));
        missing
            .filter(|name| matches!(name, Name::Rtmr(_)) || is_noted(name))
            .copied()
            .collect()
    }

    /// The form that is published.
    pub(super) fn to_reference(&self, id: &str, kind: AttestationType) -> ReferenceValues {
        match self {
            Self::Vtpm(prediction) => ReferenceValues::from_prediction(id, kind, prediction),
            Self::Tdx(prediction) => ReferenceValues::from_tdx_prediction(id, kind, prediction),
        }
    }

    pub(super) fn compare(&self, published: &ReferenceValues) -> Vec<RegisterMatch> {
        match self {
            Self::Vtpm(prediction) => published.compare(prediction),
            Self::Tdx(prediction) => published.compare_tdx(prediction),
        }
    }
}

/// `PCR 4`, or `PCR  4` in the alternate form, for columns.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcr(index) if f.alternate() => write!(f, "PCR {index:2}"),
            Self::Pcr(index) => write!(f, "PCR {index}"),
            Self::Mrtd => f.write_str("MRTD"),
            Self::Rtmr(index) => write!(f, "RTMR{index}"),
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name {
            Name::Pcr(index) => index.to_string(),
            Name::Mrtd => "mrtd".to_owned(),
            Name::Rtmr(index) => format!("rtmr{index}"),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let name = match text.strip_prefix("rtmr") {
            Some(index) => index.parse().map(Self::Rtmr),
            None if text == "mrtd" => Ok(Self::Mrtd),
            None => text.parse().map(Self::Pcr),
        };
        name.map_err(|_| format!("expected a register such as 4 or rtmr1, got {text:?}"))
    }
}
