//! Compares reference values with a prediction, or with what a machine reports.
//!
//! I/O: none.

use std::collections::{BTreeMap, BTreeSet};

use super::{AttestationType, ReferenceValues, RegisterValue};
use crate::Prediction;
use crate::tdx::TdxPrediction;

/// One register, as it is published and as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterMatch {
    /// The register's index.
    pub register: u8,
    /// The published values, of which one is enough; empty if none is published.
    pub expected: Vec<RegisterValue>,
    /// The actual value; `None` if it is not known: it cannot be predicted from the image, or was
    /// not reported.
    pub actual: Option<RegisterValue>,
}

/// What the comparison of one register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The actual value is published.
    Equal,
    /// Other values are published.
    Different,
    /// A value is published, but the actual one is not known.
    NotPredicted,
    /// No value is published, so any would be accepted.
    NotPublished,
}

impl RegisterMatch {
    /// Says how the two compare.
    pub fn verdict(&self) -> Verdict {
        match self.actual {
            _ if self.expected.is_empty() => Verdict::NotPublished,
            None => Verdict::NotPredicted,
            Some(actual) if self.expected.contains(&actual) => Verdict::Equal,
            Some(_) => Verdict::Different,
        }
    }
}

impl ReferenceValues {
    /// Lists every register that is published or predicted, in the order of their indices.
    ///
    /// A prediction is one of PCRs, so that nothing is predicted for other kinds of machine.
    pub fn compare(&self, prediction: &Prediction) -> Vec<RegisterMatch> {
        let mut actual = BTreeMap::new();
        if self.attestation_type == AttestationType::AzureTdx {
            // Registers that stay zero count where something else is published for them.
            let registers = prediction.registers.keys().chain(self.registers.keys());
            actual.extend(registers.filter_map(|register| {
                let value = prediction.value(*register)?;
                Some((*register, RegisterValue::Sha256(value.sha256)))
            }));
        }
        self.compare_registers(&actual)
    }

    /// Lists every register that is published or predicted for a TDX guest without a vTPM.
    pub fn compare_tdx(&self, prediction: &TdxPrediction) -> Vec<RegisterMatch> {
        let mut actual = BTreeMap::new();
        if self.attestation_type != AttestationType::AzureTdx {
            let rtmrs = prediction.registers.iter();
            actual.extend(rtmrs.map(|(number, rtmr)| {
                let value = RegisterValue::Sha384(rtmr.value.sha384);
                (number.saturating_add(1), value)
            }));
            let mrtd = prediction.mrtd.map(RegisterValue::Sha384);
            actual.extend(mrtd.map(|mrtd| (0, mrtd)));
        }
        self.compare_registers(&actual)
    }

    /// Lists every register that is published or among `actual`, in the order of their indices.
    pub fn compare_registers(&self, actual: &BTreeMap<u8, RegisterValue>) -> Vec<RegisterMatch> {
        let indices: BTreeSet<u8> = self
            .registers
            .keys()
            .chain(actual.keys())
            .copied()
            .collect();
        let compared = indices.into_iter().map(|register| RegisterMatch {
            register,
            expected: self.registers.get(&register).cloned().unwrap_or_default(),
            actual: actual.get(&register).copied(),
        });
        compared.collect()
    }
}
