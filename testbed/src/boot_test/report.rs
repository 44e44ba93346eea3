//! The JSON report of `testbed boot-test`.
//!
//! I/O: none.

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use crate::checks::Checks;

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
