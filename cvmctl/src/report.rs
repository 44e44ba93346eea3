//! What a command has to say, before it is said.
//!
//! I/O: none.

use std::process::ExitCode;

/// A command's answer, to be printed on standard output, and what it means.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
}

/// The three answers that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Trusted, equal, or simply printed.
    Good,
    /// Not trusted, or different.
    Bad,
    /// Neither can be said.
    Undecided,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::Bad => Self::from(1),
            Outcome::Undecided => Self::from(2),
        }
    }
}
