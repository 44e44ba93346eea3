//! Events as a table for people and as JSON for `--compare-events`.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, ensure};
use measurements::{Prediction, Register};
use serde::{Deserialize, Serialize};

/// What `--events --json` prints and `--compare-events` reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventList {
    pub(super) measurement_id: String,
    stub_version: String,
    registers: BTreeMap<u8, Register>,
}

impl EventList {
    pub(super) fn new(measurement_id: &str, stub_version: String, prediction: Prediction) -> Self {
        let Prediction { registers, .. } = prediction;
        Self {
            measurement_id: measurement_id.to_owned(),
            stub_version,
            registers,
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
pub(super) fn table(prediction: &Prediction) -> String {
    let mut text = String::new();
    for (index, register) in &prediction.registers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "PCR {index:2}  {}", register.value.sha256);
        text.push_str(&event_lines(register));
    }
    text
}

/// One indented line for each event of a register.
pub(super) fn event_lines(register: &Register) -> String {
    register
        .events
        .iter()
        .map(|e| format!("        {}  {e}\n", e.digests.sha256))
        .collect()
}
