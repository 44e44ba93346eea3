//! All that was found when two images were compared.
//!
//! I/O: reads the images.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use measurements::tdx::{self, SeparatorRegister, TdxPrediction};
use measurements::{Image, Prediction};
use serde::Serialize;

use super::causes::{Known, PARTITION_TABLE};
use super::coverage::{Covered, Table};
use super::partitions::{self, PartitionDifference};
use super::registers::{self, RegisterDifference, Registers};
use super::sections::{self, SectionDifference};
use super::{Facts, Pair, coverage};
use crate::measure::Name;

/// The result, as it is printed as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) images: Pair<Facts>,
    /// Of each kind of machine, whether the images measure the same in it.
    pub(super) measured: Machines,
    /// Whether the files are the same byte for byte.
    pub(super) identical: bool,
    /// Sections of the UKI that differ.
    pub(super) sections: Vec<SectionDifference>,
    pub(super) partitions: Vec<PartitionDifference>,
    /// Registers that are equal, and those that differ.
    pub(super) equal_registers: Vec<Name>,
    pub(super) registers: BTreeMap<Name, RegisterDifference>,
    /// What differs in registers that are not predicted.
    pub(super) not_predicted: Vec<String>,
    /// What differs, but is behind none of the registers.
    pub(super) not_covered: Vec<String>,
    /// Why it is not known of some or all registers whether they differ.
    pub(super) unknown: Vec<String>,
    /// What is to be known about the prediction.
    pub(super) notes: Vec<String>,
}

/// Kinds of machine, with registers of their own.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Machines {
    /// PCRs.
    pub(super) vtpm: Measured,
    /// RTMRs.
    pub(super) tdx: Measured,
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

/// What an image measures to in both kinds of machine, or why that is not known.
struct Predicted {
    vtpm: Result<Prediction, String>,
    tdx: Result<TdxPrediction, String>,
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
            measured: Machines {
                vtpm: Measured::Alike,
                tdx: Measured::Alike,
            },
            identical,
            sections: Vec::new(),
            partitions: Vec::new(),
            equal_registers: Vec::new(),
            registers: BTreeMap::new(),
            not_predicted: Vec::new(),
            not_covered: Vec::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
        };
        if identical {
            return Ok(comparison);
        }
        comparison.sections = sections::compare(a, b)?;
        comparison.partitions = partitions::compare(a, b)?;
        let of_a = Predicted::of(a);
        let of_b = Predicted::of(b);
        let sides = [&mut comparison.images.a, &mut comparison.images.b];
        for (facts, predicted) in sides.into_iter().zip([&of_a, &of_b]) {
            let text = predicted.vtpm.as_ref().ok();
            if let Some(text) = text.and_then(registers::command_line) {
                facts.set_command_line(text);
            }
        }
        let vtpm = Pair {
            a: of_a.vtpm,
            b: of_b.vtpm,
        };
        let tdx = Pair {
            a: of_a.tdx,
            b: of_b.tdx,
        };
        comparison.measured.vtpm = comparison.add(vtpm, registers::compare_pcrs, |prediction| {
            &prediction.notes
        });
        comparison.measured.tdx = comparison.add(tdx, registers::compare_rtmrs, |prediction| {
            &prediction.notes
        });
        comparison.look_for_what_is_not_covered();
        Ok(comparison)
    }

    /// Compares the registers of one kind of machine.
    fn add<P>(
        &mut self,
        predictions: Pair<Result<P, String>>,
        compare: impl Fn(&Pair<P>, Known<'_>) -> Registers,
        notes: impl Fn(&P) -> &Vec<String>,
    ) -> Measured {
        let compared = match predictions {
            Pair { a: Ok(a), b: Ok(b) } => {
                let notes = notes(&a).iter().chain(notes(&b));
                for note in notes.filter(|note| !registers::is_reason(note)) {
                    add_once(&mut self.notes, note.clone());
                }
                let known = Known {
                    facts: &self.images,
                    sections: &self.sections,
                    partitions: &self.partitions,
                };
                compare(&Pair { a, b }, known)
            }
            Pair { a, b } => {
                let sides = [
                    (&self.images.a.path, a.err()),
                    (&self.images.b.path, b.err()),
                ];
                let reason =
                    |(path, error): (&String, _)| Some(format!("predict {path}: {}", error?));
                let unknown: Vec<String> = sides.into_iter().filter_map(reason).collect();
                Registers {
                    unknown,
                    ..Registers::default()
                }
            }
        };
        let measured = match (compared.different.is_empty(), compared.unknown.is_empty()) {
            (false, _) => Measured::Differently,
            (true, true) => Measured::Alike,
            (true, false) => Measured::Unknown,
        };
        self.equal_registers.extend(compared.equal);
        self.registers.extend(compared.different);
        for reason in compared.unknown {
            add_once(&mut self.unknown, reason);
        }
        measured
    }

    fn look_for_what_is_not_covered(&mut self) {
        let table = self.table();
        if table == Table::Different {
            let sentence = "PCR 5 is not predicted, but it differs: firmware measures the partition \
                            table into it";
            self.not_predicted.push(sentence.to_owned());
        }
        // What cannot be predicted is measured all the same.
        let is_uki_equal = self.images.a.uki_sha256 == self.images.b.uki_sha256;
        let has_unknown_pcr = self.measured.vtpm == Measured::Unknown;
        let is_uki =
            self.registers.contains_key(&Name::Pcr(4)) || (!is_uki_equal && has_unknown_pcr);
        self.not_covered = coverage::not_covered(
            &self.images,
            &self.sections,
            &mut self.partitions,
            Covered { is_uki, table },
        );
    }

    /// Whether the partition tables are measured differently.
    fn table(&self) -> Table {
        const RTMR1: Name = Name::Rtmr(1);
        let is_table = |register: &RegisterDifference| {
            let mut causes = register.causes.iter();
            causes.any(|cause| cause.event == PARTITION_TABLE)
        };
        match self.registers.get(&RTMR1) {
            Some(register) if is_table(register) => Table::Different,
            Some(_) => Table::Equal,
            None if self.equal_registers.contains(&RTMR1) => Table::Equal,
            None => Table::NotCompared,
        }
    }
}

impl Predicted {
    fn of<R: Read + Seek>(image: &mut Image<R>) -> Self {
        let text = |error: anyhow::Error| format!("{error:#}");
        // Either generation of firmware shows the differences.
        let tdx = tdx::predict(image, SeparatorRegister::Rtmr1);
        Self {
            vtpm: measurements::predict(image).map_err(|error| text(error.into())),
            tdx: tdx.map_err(|error| text(error.into())),
        }
    }
}

fn add_once(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}
