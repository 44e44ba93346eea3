//! Compares reference values with a prediction.
//!
//! I/O: none.

use std::collections::BTreeSet;

use super::{AttestationType, ReferenceValues, RegisterValue};
use crate::{Prediction, Sha256Digest};

/// One register, as it is published and as it is predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterMatch {
    /// The register's index.
    pub register: u8,
    /// The published values, of which one is enough; empty if none is published.
    pub expected: Vec<RegisterValue>,
    /// The predicted value; `None` if it cannot be predicted from the image.
    pub actual: Option<Sha256Digest>,
}

/// What the comparison of one register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The predicted value is published.
    Equal,
    /// Other values are published.
    Different,
    /// A value is published, but the image does not say what it would be.
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
            Some(actual) if self.expected.contains(&RegisterValue::Sha256(actual)) => {
                Verdict::Equal
            }
            Some(_) => Verdict::Different,
        }
    }
}

impl ReferenceValues {
    /// Lists every register that is published or predicted, in the order of their indices.
    ///
    /// A prediction is one of PCRs, so that nothing is predicted for other kinds of machine.
    pub fn compare(&self, prediction: &Prediction) -> Vec<RegisterMatch> {
        let is_comparable = self.attestation_type == AttestationType::AzureTdx;
        let predicted = is_comparable.then_some(prediction);
        let mut indices: BTreeSet<u8> = self.registers.keys().copied().collect();
        indices.extend(predicted.iter().flat_map(|p| p.registers.keys()));
        let compared = indices.into_iter().map(|register| RegisterMatch {
            register,
            expected: self.registers.get(&register).cloned().unwrap_or_default(),
            actual: predicted
                .and_then(|prediction| prediction.value(register))
                .map(|value| value.sha256),
        });
        compared.collect()
    }
}
