//! What `testbed run` has found out, for people and as JSON.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use testkit::console::phases::Phase;
use testkit::fetch::url;

use crate::registers::Comparison;

/// A running node.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    image: PathBuf,
    url: String,
    /// Seconds from power-on to the beginning of each phase.
    phases: BTreeMap<&'static str, f64>,
    registers: Comparison,
    equal: bool,
    logs: PathBuf,
}

impl Summary {
    /// Puts the summary together.
    pub(super) fn new(
        image: &Path,
        port: u16,
        phases: Vec<(Phase, Duration)>,
        logs: &Path,
        registers: Comparison,
    ) -> Self {
        let phases = phases.into_iter();
        Self {
            image: image.to_owned(),
            url: url(port, "/cert"),
            phases: phases
                .map(|(phase, at)| (phase.name(), at.as_secs_f64()))
                .collect(),
            equal: registers.is_equal(),
            registers,
            logs: logs.to_owned(),
        }
    }

    /// Whether the registers are as predicted.
    pub(super) fn is_equal(&self) -> bool {
        self.equal
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe node answers:\n  curl --insecure {}", self.url)?;
        writeln!(f, "It measured:\n{}", self.registers)?;
        writeln!(f, "Logs: {}", self.logs.display())
    }
}
