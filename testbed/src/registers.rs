//! What an image should measure to, and whether a machine's TPM agrees.
//!
//! I/O: reads the image.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use measurements::event_log::EventLog;
use measurements::{Image, Prediction, Sha256Digest};
use serde::Serialize;
use testkit::tpm::Pcrs;

/// The registers that hold what is booted.
const PREDICTED: [u8; 3] = [4, 9, 11];

/// The registers that are verified: those that are predicted, and those that stay zero unless
/// something unforeseen was loaded.
pub(crate) fn verified() -> BTreeSet<u8> {
    PREDICTED.into_iter().chain(Prediction::UNTOUCHED).collect()
}

/// Predicts what `image` measures to.
pub(crate) fn predict_image(image: &Path) -> Result<Prediction> {
    let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
    let mut image = Image::open(file)
        .with_context(|| format!("find the kernel image in {}", image.display()))?;
    measurements::predict(&mut image).context("predict the registers")
}

/// One register, expected and actual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    register: u8,
    expected: Sha256Digest,
    actual: Sha256Digest,
}

/// All registers that are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Comparison(Vec<Row>);

impl Comparison {
    /// Compares the prediction with what a TPM holds.
    pub(crate) fn new(prediction: &Prediction, actual: &Pcrs) -> Self {
        let rows = verified().into_iter().map(|register| Row {
            register,
            expected: prediction
                .value(register)
                .map_or(Sha256Digest::ZERO, |value| value.sha256),
            actual: actual.value(register),
        });
        Self(rows.collect())
    }

    /// Whether a verifier would accept the machine.
    pub(crate) fn is_equal(&self) -> bool {
        self.different().is_empty()
    }

    /// The registers that differ.
    pub(crate) fn different(&self) -> Vec<u8> {
        self.0
            .iter()
            .filter(|row| row.expected != row.actual)
            .map(|row| row.register)
            .collect()
    }

    /// Fails with the differences, if there are any.
    pub(crate) fn ensure_equal(&self) -> Result<()> {
        ensure!(self.is_equal(), "registers differ:\n{self}");
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let Row {
                register, actual, ..
            } = row;
            if row.actual == row.expected {
                writeln!(f, "  PCR {register:>2}  {actual}  as predicted")?;
            } else {
                let expected = row.expected;
                writeln!(f, "  PCR {register:>2}  {actual}  DIFFERENT")?;
                writeln!(f, "   predicted {expected}")?;
            }
        }
        Ok(())
    }
}

/// Fails unless the log has exactly the predicted events, in order.
pub(crate) fn ensure_same_events(prediction: &Prediction, log: &EventLog) -> Result<()> {
    for (&register, predicted) in &prediction.registers {
        let logged = log.digests(register.into());
        for (number, event) in predicted.events.iter().enumerate() {
            let actual = logged.get(number);
            let sha256 = actual.and_then(|actual| actual.sha256);
            ensure!(
                sha256 == Some(event.digests.sha256),
                "PCR {register}, event {number} ({event}): predicted {}, logged {}",
                event.digests.sha256,
                sha256.map_or("nothing".to_owned(), |actual| actual.to_string())
            );
            // A TPM need not have the other bank.
            let sha384 = actual.and_then(|actual| actual.sha384);
            ensure!(
                sha384.is_none_or(|actual| actual == event.digests.sha384),
                "PCR {register}, event {number} ({event}): the log has another SHA-384 digest"
            );
        }
        ensure!(
            logged.len() == predicted.events.len(),
            "PCR {register}: {} events predicted, {} logged",
            predicted.events.len(),
            logged.len()
        );
    }
    let is_predicted = |register: &u8| prediction.registers.contains_key(register);
    for register in Prediction::UNTOUCHED {
        if is_predicted(&register) {
            continue;
        }
        let count = log.digests(register.into()).len();
        ensure!(count == 0, "PCR {register}: {count} events, none predicted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verified_registers_are_the_predicted_and_the_untouched() {
        let verified: Vec<u8> = verified().into_iter().collect();
        assert_eq!(verified, [4, 8, 9, 11, 12, 13, 14, 15]);
    }
}
