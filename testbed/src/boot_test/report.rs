//! The JSON report of `testbed boot-test`.
//!
//! I/O: none.

use serde::Serialize;

use super::context::Context;
use crate::checks::Checks;
use crate::report::Header;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    header: Header,
    scenarios: Vec<Checks>,
}

impl Report {
    /// Puts the report together.
    pub(super) fn new(context: &Context, scenarios: Vec<Checks>) -> Self {
        let size = (context.memory, context.cpus);
        let header = Header::new(&context.image, context.accelerator, size, scenarios.iter());
        Self { header, scenarios }
    }

    /// How many checks passed and failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.header.counts()
    }
}
