//! Events as a table for people and as JSON for `--compare-events`.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;

use anyhow::{Context, ensure};
use measurements::{Image, Prediction, Register};
use serde::{Deserialize, Serialize};

use super::Bank;

/// What `--events --json` prints and `--compare-events` reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventList {
    pub(super) measurement_id: String,
    /// As the UKI says it; what was assumed instead is noted.
    stub_version: Option<String>,
    /// What is started, in order: the loader if there is one, the UKI.
    loaded: Vec<LoadedFile>,
    registers: BTreeMap<u8, Register>,
    /// Registers that nothing is measured into: they must be zero.
    zero: Vec<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A file that is started.
#[derive(Debug, Serialize, Deserialize)]
struct LoadedFile {
    path: String,
    program: String,
}

impl EventList {
    pub(super) fn new(measurement_id: &str, image: &Image<File>, prediction: Prediction) -> Self {
        let loaded = image.loaded().into_iter().map(|file| LoadedFile {
            path: file.path.clone(),
            program: file.program.clone(),
        });
        Self {
            measurement_id: measurement_id.to_owned(),
            stub_version: image.stub_version().ok().map(|version| version.to_string()),
            loaded: loaded.collect(),
            zero: zero_registers(&prediction),
            registers: prediction.registers,
            notes: prediction.notes,
        }
    }

    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        let mut json = serde_json::to_string_pretty(self).context("write the events as JSON")?;
        json.push('\n');
        Ok(json)
    }

    /// Parses what [`Self::to_json`] wrote, and refuses a list whose events do not lead to its
    /// values.
    pub(super) fn parse(json: &str) -> anyhow::Result<Self> {
        let list: Self = serde_json::from_str(json)
            .context("expected the output of cvmctl measure --events --json")?;
        for (index, register) in &list.registers {
            ensure!(
                register.is_consistent(),
                "the events of PCR {index} do not lead to its value"
            );
        }
        Ok(list)
    }

    pub(super) fn prediction(&self) -> Prediction {
        Prediction {
            registers: self.registers.clone(),
            notes: Vec::new(),
        }
    }
}

/// Every register with its events.
pub(super) fn table(prediction: &Prediction, bank: Bank) -> String {
    let mut text = String::new();
    for (index, register) in &prediction.registers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "PCR {index:2}  {}", bank.of(register.value));
        text.push_str(&event_lines(register, bank));
    }
    let zero: Vec<String> = zero_registers(prediction)
        .iter()
        .map(u8::to_string)
        .collect();
    let _ = writeln!(
        text,
        "PCR {}: nothing is measured, must be zero",
        zero.join(", ")
    );
    text
}

/// One indented line for each event of a register.
pub(super) fn event_lines(register: &Register, bank: Bank) -> String {
    register
        .events
        .iter()
        .map(|event| format!("        {}  {event}\n", bank.of(event.digests)))
        .collect()
}

fn zero_registers(prediction: &Prediction) -> Vec<u8> {
    let untouched = Prediction::UNTOUCHED.into_iter();
    untouched
        .filter(|index| !prediction.registers.contains_key(index))
        .collect()
}
