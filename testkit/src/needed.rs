//! What a test needs and a machine may not have: programs, and captured data beside the checkout.
//!
//! Where CI runs, a test that lacks something fails; elsewhere it says that it was skipped, past
//! the test harness, which swallows what a passing test prints.
//!
//! I/O: looks for files; writes standard error.

#![allow(
    clippy::panic,
    reason = "for tests, in which a panic is a failure, which is what is wanted in CI"
)]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::child::find_program;

/// Whether all of these programs are there, by name or by path.
///
/// # Panics
///
/// If one is missing and `CI` is set.
pub fn programs(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        // An absolute path replaces the folder that it is looked for in.
        .filter(|program| find_program(program).is_none())
        .collect();
    missing.is_empty() || skipped(&format!("{missing:?}"))
}

/// The path of captured data in `../shared/vectors`, `None` if they are not there.
///
/// # Panics
///
/// If they are missing and `CI` is set.
pub fn vectors(path: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = here.join("../../shared/vectors").join(path);
    let is_there = vectors.exists() || skipped(&vectors.display().to_string());
    is_there.then_some(vectors)
}

/// Says so and returns false.
fn skipped(missing: &str) -> bool {
    if env::var_os("CI").is_some() {
        panic!("missing in CI: {missing}");
    }
    // Not `eprintln`, which the test harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing} is not there");
    false
}
