//! Events as a table for people and as JSON for `--compare-events`.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;

use anyhow::{Context, ensure};
use measurements::{Image, Register, Sha384Digest};
use serde::{Deserialize, Serialize};

use super::Bank;
use super::predicted::{Name, Predicted};
use crate::report::one_line;

/// What `--events --json` prints and `--compare-events` reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventList {
    pub(super) measurement_id: String,
    /// As the UKI says it; what was assumed instead is noted.
    stub_version: Option<String>,
    /// What is started, in order: the loader if there is one, the UKI.
    loaded: Vec<LoadedFile>,
    pub(super) registers: BTreeMap<Name, Register>,
    /// The firmware's register of a bare TDX guest, which has no events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mrtd: Option<Sha384Digest>,
    /// Registers that nothing is measured into: they must be zero.
    zero: Vec<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// A file that is started.
#[derive(Debug, Serialize, Deserialize)]
struct LoadedFile {
    path: String,
    program: String,
}

impl EventList {
    pub(super) fn new(measurement_id: &str, image: &Image<File>, predicted: &Predicted) -> Self {
        let loaded = image.loaded().into_iter().map(|file| LoadedFile {
            path: file.path.clone(),
            program: file.program.clone(),
        });
        let registers = predicted.registers().into_iter();
        Self {
            measurement_id: measurement_id.to_owned(),
            stub_version: image.stub_version().ok().map(|version| version.to_string()),
            loaded: loaded.collect(),
            registers: registers.map(|(name, r)| (name, r.clone())).collect(),
            mrtd: mrtd(predicted),
            zero: predicted.zero(),
            notes: predicted.notes().to_vec(),
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
        for (name, register) in &list.registers {
            ensure!(
                register.is_consistent(),
                "the events of {name} do not lead to its value"
            );
        }
        Ok(list)
    }
}

/// Every register with its events.
pub(super) fn table(predicted: &Predicted, bank: Bank) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if let Some(mrtd) = mrtd(predicted) {
        let _ = writeln!(text, "{:#}  {mrtd}", Name::Mrtd);
    }
    for (name, register) in predicted.registers() {
        let _ = writeln!(text, "{name:#}  {}", bank.of(register.value));
        text.push_str(&event_lines(register, bank));
    }
    for name in predicted.zero() {
        let _ = writeln!(text, "{name:#}  nothing is measured, must be zero");
    }
    text
}

/// One indented line for each event of a register.
pub(super) fn event_lines(register: &Register, bank: Bank) -> String {
    register
        .events
        .iter()
        .map(|event| (bank.of(event.digests), one_line(&event.to_string())))
        .map(|(digest, words)| format!("        {digest}  {words}\n"))
        .collect()
}

pub(super) fn mrtd(predicted: &Predicted) -> Option<Sha384Digest> {
    match predicted {
        Predicted::Vtpm(_) => None,
        Predicted::Tdx(prediction) => prediction.mrtd,
    }
}
