//! How long each part of a boot took.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use testkit::console::phases::Phase;

/// One boot: seconds from power-on to the beginning of each phase.
#[derive(Debug, Serialize)]
pub(crate) struct Boot {
    name: String,
    phases: BTreeMap<&'static str, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<f64>,
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
