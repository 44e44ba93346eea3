//! The options of `testbed run`.
//!
//! I/O: none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::Common;

/// More would each get a small part of a processor.
const MOST_NODES: i64 = 8;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// How many nodes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MOST_NODES))]
    pub(super) nodes: u8,
    /// Show the consoles
    #[arg(long)]
    pub(super) console: bool,
    /// Keep the hub's database and keys, and the nodes' TPMs, firmware variables and data disks in this
    /// directory, and use them again [default: begin anew]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// End after the checks instead of staying
    #[arg(long)]
    pub(super) once: bool,
    /// Print a JSON summary to standard output, and all else to standard error
    #[arg(long)]
    pub(super) json: bool,
    /// How long the boot of one node may take, in seconds; of several, as many times as long
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// The hub's program
    #[arg(long, default_value = "builderhub", value_name = "PROGRAM")]
    pub(super) builderhub: PathBuf,
    /// The program that measures the image and verifies the nodes
    #[arg(long, default_value = "cvmctl", value_name = "PROGRAM")]
    pub(super) cvmctl: PathBuf,
    /// Text before the commands on the page, such as what enters the tools tree
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(super) prefix: String,
}

impl Options {
    /// Where what outlasts the run is; empty unless it was given.
    pub(super) fn state(&self, run: &Path) -> Result<PathBuf> {
        match &self.state {
            Some(directory) => {
                std::fs::create_dir_all(directory).context("make the state directory")?;
                directory.canonicalize().context("find the state directory")
            }
            None => crate::work::fresh_directory(run, "state"),
        }
    }

    /// How long all boots may take: nodes share the processors.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.saturating_mul(self.nodes.into()))
    }
}
