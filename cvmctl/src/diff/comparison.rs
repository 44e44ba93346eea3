//! All that was found when two images were compared.
//!
//! I/O: reads the images.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use measurements::{Image, Prediction};
use serde::Serialize;

use super::partitions::{self, PartitionDifference};
use super::registers::{self, RegisterDifference};
use super::sections::{self, SectionDifference};
use super::{Facts, Pair, coverage};

/// The result, as it is printed as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) images: Pair<Facts>,
    pub(super) measured: Measured,
    /// Whether the files are the same byte for byte.
    pub(super) identical: bool,
    /// Sections of the UKI that differ.
    pub(super) sections: Vec<SectionDifference>,
    pub(super) partitions: Vec<PartitionDifference>,
    /// Registers that differ, by index.
    pub(super) registers: BTreeMap<u8, RegisterDifference>,
    /// What differs, but is behind none of the registers.
    pub(super) not_covered: Vec<String>,
    /// Why it is not known of some or all registers whether they differ.
    pub(super) unknown: Vec<String>,
    /// What is to be known about the prediction.
    pub(super) notes: Vec<String>,
}

/// Whether two images measure the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measured {
    /// All registers are equal.
    Alike,
    /// At least one is not.
    Differently,
    /// None is known to differ, but not all are known.
    Unknown,
}

impl Comparison {
    pub(super) fn of<A: Read + Seek, B: Read + Seek>(
        images: Pair<Facts>,
        identical: bool,
        a: &mut Image<A>,
        b: &mut Image<B>,
    ) -> anyhow::Result<Self> {
        let mut comparison = Self {
            images,
            measured: Measured::Alike,
            identical,
            sections: Vec::new(),
            partitions: Vec::new(),
            registers: BTreeMap::new(),
            not_covered: Vec::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
        };
        if identical {
            return Ok(comparison);
        }
        comparison.sections = sections::compare(a, b)?;
        comparison.partitions = partitions::compare(a, b)?;
        let predictions = Pair {
            a: predict(a),
            b: predict(b),
        };
        let sides = [&mut comparison.images.a, &mut comparison.images.b];
        for (facts, prediction) in sides.into_iter().zip([&predictions.a, &predictions.b]) {
            let text = prediction.as_ref().ok().and_then(registers::command_line);
            if let Some(text) = text {
                facts.set_command_line(text);
            }
        }
        comparison.compare_registers(predictions);
        // What cannot be predicted is measured all the same.
        let is_uki_equal = comparison.images.a.uki_sha256 == comparison.images.b.uki_sha256;
        let is_uki_covered = comparison.registers.contains_key(&4)
            || (!is_uki_equal && !comparison.unknown.is_empty());
        comparison.not_covered = coverage::not_covered(
            &comparison.images,
            &comparison.sections,
            &mut comparison.partitions,
            is_uki_covered,
        );
        Ok(comparison)
    }

    fn compare_registers(&mut self, predictions: Pair<Result<Prediction, String>>) {
        match predictions {
            Pair { a: Ok(a), b: Ok(b) } => {
                for note in a.notes.iter().chain(&b.notes) {
                    if !self.notes.contains(note) {
                        self.notes.push(note.clone());
                    }
                }
                let predictions = Pair { a, b };
                let compared = registers::compare(&predictions, &self.images, &self.sections);
                self.registers = compared.different;
                self.unknown = compared
                    .unknown
                    .into_iter()
                    .map(|index| format!("PCR {index} depends on more than the images"))
                    .collect();
            }
            Pair { a, b } => {
                let sides = [(&self.images.a.path, a), (&self.images.b.path, b)];
                self.unknown = sides
                    .into_iter()
                    .filter_map(|(path, result)| Some(format!("predict {path}: {}", result.err()?)))
                    .collect();
            }
        }
        let (are_known, are_equal) = (self.unknown.is_empty(), self.registers.is_empty());
        self.measured = match (are_equal, are_known) {
            (false, _) => Measured::Differently,
            (true, true) => Measured::Alike,
            (true, false) => Measured::Unknown,
        };
    }
}

/// Predicts, or says why that is not possible.
fn predict<R: Read + Seek>(image: &mut Image<R>) -> Result<Prediction, String> {
    measurements::predict(image).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}
