//! The JSON report of `testbed chain-test`.
//!
//! I/O: writes it.

use std::path::Path;

use anyhow::{Context as _, Result};
use measurements::image::Loaded;
use serde::Serialize;
use testkit::machine::Accelerator;

use super::compare::Row;
use crate::Common;
use crate::checks::Checks;
use crate::report::Header;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The image is the one whose kernel was booted.
    #[serde(flatten)]
    header: Header,
    chains: Vec<Outcome>,
}

/// One chain.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    #[serde(flatten)]
    pub(super) checks: Checks,
    loaded: Vec<Program>,
    registers: Vec<Row>,
}

/// A program that is started, in order.
#[derive(Debug, Serialize)]
struct Program {
    path: String,
    program: String,
}

impl Outcome {
    /// A chain of which nothing is known.
    pub(super) fn new(name: &str) -> Self {
        Self {
            checks: Checks::new(name),
            loaded: Vec::new(),
            registers: Vec::new(),
        }
    }

    pub(super) fn set_loaded(&mut self, loaded: &[&Loaded]) {
        let program = |loaded: &&Loaded| Program {
            path: loaded.path.clone(),
            program: loaded.program.clone(),
        };
        self.loaded = loaded.iter().map(program).collect();
    }

    pub(super) fn set_registers(&mut self, rows: &[Row]) {
        self.registers = rows.to_vec();
    }
}

impl Report {
    /// Puts the report together.
    pub(super) fn new(common: &Common, accelerator: Accelerator, chains: Vec<Outcome>) -> Self {
        let size = (common.memory, common.cpus);
        let checks = chains.iter().map(|chain| &chain.checks);
        let header = Header::new(&common.image, accelerator, size, checks);
        Self { header, chains }
    }

    /// How many checks passed and failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.header.counts()
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
    }
}
