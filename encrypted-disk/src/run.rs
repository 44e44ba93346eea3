//! Runs the programs that know disks: cryptsetup, blkid, mkfs and their kin.
//!
//! A [`Call`] is a program and its arguments, never a shell's line; the only secret, the disk's key, goes to
//! standard input. Whoever makes calls takes a [`Run`], so that tests see every call and say what it answers.
//!
//! I/O: [`System`] starts programs.

mod system;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::time::Duration;

pub use self::system::System;

/// One run of a program.
#[derive(Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its name; it is looked for where Debian has system programs.
    pub program: &'static str,
    /// What follows the name.
    pub arguments: Vec<OsString>,
    /// What it gets on standard input, which then ends. May be secret: it is not printed.
    pub input: &'a [u8],
    /// After this it is killed.
    pub limit: Duration,
}

impl<'a> Call<'a> {
    /// A call without input that ends within a minute.
    pub fn new<A: Into<OsString>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
            input: &[],
            limit: Duration::from_secs(60),
        }
    }

    /// One argument more.
    #[must_use]
    pub fn and(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The same with this on standard input.
    #[must_use]
    pub fn with_input(mut self, input: &'a [u8]) -> Self {
        self.input = input;
        self
    }

    /// The same with another limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// The program and its arguments, as one reads them.
impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        let mut arguments = self.arguments.iter();
        arguments.try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// The beginning of what it wrote.
    pub stdout: String,
    /// The beginning of what it wrote to standard error, on one line.
    pub stderr: String,
}

/// Why a program gave no answer, or not the one that was needed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// Its name.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// It took too long.
    #[error("{program} was not done after {} s", limit.as_secs())]
    TimedOut {
        /// Its name.
        program: &'static str,
        /// How long it had.
        limit: Duration,
    },

    /// A signal ended it.
    #[error("{program} was ended by signal {signal}")]
    Killed {
        /// Its name.
        program: &'static str,
        /// Which signal.
        signal: i32,
    },

    /// It ended with a code that means failure.
    #[error("{program} failed with code {code}: {stderr}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The code.
        code: i32,
        /// What it said.
        stderr: String,
    },
}

/// Who runs programs.
pub trait Run {
    /// Runs one to its end, whatever its exit code is.
    ///
    /// # Errors
    ///
    /// [`RunError`], but for [`RunError::Failed`], which is the caller's to judge.
    fn run(&mut self, call: &Call<'_>) -> Result<Output, RunError>;
}

/// The beginning of what a program says, on one line. What it quotes may come from a disk, whose owner would write
/// to terminals and logs: what is not plain is escaped.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = String::new();
    for character in words.chars() {
        let is_plain = (character.is_ascii_graphic() && character != '\\') || character == ' ';
        let shown = match is_plain {
            true => character.to_string(),
            false => character.escape_default().to_string(),
        };
        if line.len().saturating_add(shown.len()) > most {
            line.push_str(" ...");
            break;
        }
        line.push_str(&shown);
    }
    line
}

/// Runs a program that has to end with code 0.
pub(crate) fn succeed(run: &mut dyn Run, call: &Call<'_>) -> Result<Output, RunError> {
    let output = run.run(call)?;
    match output.code {
        0 => Ok(output),
        _ => Err(failed(call, output)),
    }
}

/// The error for an exit code.
pub(crate) fn failed(call: &Call<'_>, output: Output) -> RunError {
    RunError::Failed {
        program: call.program,
        code: output.code,
        stderr: output.stderr,
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn what_a_disk_makes_a_program_say_is_one_plain_line() {
        let hostile = "a\nb\t c \u{1b}[2J\u{202e}\0\\ d";
        let expected = r"a b c \u{1b}[2J\u{202e}\u{0}\\ d";
        assert_eq!(one_line(hostile, 300), expected);
        for text in [&"x".repeat(1000), &"\u{1b}".repeat(1000)] {
            let line = one_line(text, 300);
            assert!(line.len() <= 304 && line.ends_with(" ..."), "{line}");
        }
        assert_eq!(one_line(&"x".repeat(300), 300).len(), 300);
    }
}
