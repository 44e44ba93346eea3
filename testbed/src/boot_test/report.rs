//! The JSON report: results, and how long each part of each boot took.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use testkit::console::phases::Phase;

use super::checks::Checks;
use super::context::Context;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    image: PathBuf,
    accelerator: &'static str,
    memory_mib: u32,
    cpus: u32,
    passed: usize,
    failed: usize,
    scenarios: Vec<Checks>,
}

/// One boot: seconds from power-on to the beginning of each phase.
#[derive(Debug, Serialize)]
pub(super) struct Boot {
    name: String,
    phases: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<f64>,
}

impl Report {
    /// Puts the report together.
    pub(super) fn new(context: &Context, scenarios: Vec<Checks>) -> Self {
        let counts = scenarios.iter().map(Checks::counts);
        let (passed, failed) = counts.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        Self {
            image: context.image.clone(),
            accelerator: context.accelerator.name(),
            memory_mib: context.memory,
            cpus: context.cpus,
            passed,
            failed,
            scenarios,
        }
    }

    /// How many checks passed and failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }
}

impl Boot {
    /// The times of one boot; `certificate` is when `/cert` first answered.
    pub(super) fn new(
        name: &str,
        phases: &[(Phase, Duration)],
        certificate: Option<Duration>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            phases: phases
                .iter()
                .map(|(phase, at)| (phase.name(), at.as_secs_f64()))
                .collect(),
            certificate: certificate.map(|at| at.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_has_seconds_by_phase() {
        let phases = [(Phase::Kernel, Duration::from_millis(8500))];
        let boot = Boot::new("fresh", &phases, Some(Duration::from_secs(30)));
        let json = serde_json::to_value(boot).unwrap();
        assert_eq!(json["phases"]["kernel"], 8.5);
        assert_eq!(json["certificate"], 30.0);
    }
}
