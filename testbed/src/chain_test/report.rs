//! The JSON report of `testbed chain-test`.
//!
//! I/O: writes it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use measurements::image::Loaded;
use serde::Serialize;
use testkit::machine::Accelerator;

use super::compare::Row;
use crate::Common;
use crate::checks::Checks;

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whose kernel was booted.
    image: PathBuf,
    accelerator: &'static str,
    memory_mib: u32,
    cpus: u32,
    passed: usize,
    failed: usize,
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
        let counts = chains.iter().map(|chain| chain.checks.counts());
        let (passed, failed) = counts.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        Self {
            image: common.image.clone(),
            accelerator: accelerator.name(),
            memory_mib: common.memory,
            cpus: common.cpus,
            passed,
            failed,
            chains,
        }
    }

    /// How many checks passed and failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
    }
}
