//! The JSON report of `testbed azure-sim --self-test`.
//!
//! I/O: writes it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use testkit::machine::Accelerator;

use crate::azure_sim::Options;
use crate::checks::Checks;
use crate::report::Header;

#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    scenarios: [&'a Checks; 1],
}

/// Writes what was found out.
pub(super) fn write(
    path: &Path,
    options: &Options,
    accelerator: Accelerator,
    checks: &Checks,
) -> Result<()> {
    let size = (options.common.memory, options.common.cpus);
    let report = Report {
        header: Header::new(options.image(), accelerator, size, [checks].into_iter()),
        scenarios: [checks],
    };
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
}
