//! How long each part of a boot took.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use testkit::console::phases::Phase;
use testkit::console::stages::Stage;

/// One boot: seconds from power-on to the beginning of each phase.
#[derive(Debug, Serialize)]
pub(crate) struct Boot {
    name: String,
    phases: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<f64>,
    /// Seconds that each stage of the node's boot took.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stages: BTreeMap<String, f64>,
    /// Seconds from power-on to the end of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<f64>,
}

impl Boot {
    /// The times of one boot; `certificate` is when `/cert` first answered.
    pub(crate) fn new(
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
            stages: BTreeMap::new(),
            ready: None,
        }
    }

    /// Adds the stages of the node's boot.
    pub(crate) fn set_stages(&mut self, stages: &[Stage]) {
        let of_each = stages
            .iter()
            .map(|stage| (stage.name.clone(), stage.seconds));
        self.stages = of_each.collect();
        self.ready = stages.last().map(|stage| stage.done.as_secs_f64());
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
