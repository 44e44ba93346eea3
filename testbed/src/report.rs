//! What the JSON reports of all tests begin with: where they ran, and how many checks passed.
//!
//! I/O: none.

use std::path::{Path, PathBuf};

use serde::Serialize;
use testkit::machine::Accelerator;

use crate::checks::Checks;

/// The first fields of a report.
#[derive(Debug, Serialize)]
pub(crate) struct Header {
    image: PathBuf,
    accelerator: &'static str,
    memory_mib: u32,
    cpus: u32,
    passed: usize,
    failed: usize,
}

impl Header {
    /// Counts `checks`, which ran on machines of this kind with `image` or its kernel.
    pub(crate) fn new<'a>(
        image: &Path,
        accelerator: Accelerator,
        (memory_mib, cpus): (u32, u32),
        checks: impl Iterator<Item = &'a Checks>,
    ) -> Self {
        let counts = checks.map(Checks::counts);
        let (passed, failed) = counts.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        Self {
            image: image.to_owned(),
            accelerator: accelerator.name(),
            memory_mib,
            cpus,
            passed,
            failed,
        }
    }

    /// How many checks passed and failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }
}
