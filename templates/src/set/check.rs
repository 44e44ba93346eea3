//! Every rendered file before it is put in place: parsed here, and shown to its consumer's own checker.
//!
//! I/O: writes rendered files to a folder of the state folder that only root can enter, and removes
//! them again; runs checkers through its caller.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::declaration::FILE;
use super::journal::make_private;
use super::root::Root;
use super::{File, Rendered};
use crate::format::NotWellFormed;

/// What is to be run: a program that succeeds if its configuration is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Checker<'c> {
    /// The destination that is checked.
    pub destination: &'c str,
    /// As declared.
    pub program: &'c str,
    /// As declared, `{}` replaced by the path of the rendered file.
    pub arguments: Vec<String>,
}

/// A set that may be put in place.
#[derive(Debug)]
pub struct Checked {
    pub(super) rendered: Rendered,
    pub(super) root: Root,
}

/// Why a rendered file is refused. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is not what its extension, or its declaration, says.
    #[error("{destination}: rendered file is not {format:?}")]
    NotWellFormed {
        /// Of which file.
        destination: String,
        /// Of which format.
        format: crate::Format,
        /// Where.
        #[source]
        source: NotWellFormed,
    },
    /// Rendered files cannot be staged.
    #[error("stage files in {path}")]
    Stage {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A checker cannot be run.
    #[error("{destination}: run {program}")]
    Run {
        /// Of which file.
        destination: String,
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A checker says no. What it printed may hold values.
    #[error("{destination}: {program} refuses the rendered file: {status}")]
    Refused {
        /// Of which file.
        destination: String,
        /// Which program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

impl Rendered {
    /// Parses every file whose format is TOML, YAML or JSON; stages all; has each declared checker run
    /// by `run`, which should have it end in a while, and keep what it prints from logs: checkers
    /// quote the lines that they refuse.
    ///
    /// A checker sees the one file at another path, with the other rendered files where they are to each
    /// other. Destinations that it names by their whole path are those of before.
    ///
    /// # Errors
    ///
    /// Names the first file that is refused.
    pub fn check(
        self,
        root: &Root,
        mut run: impl FnMut(Checker<'_>) -> io::Result<ExitStatus>,
    ) -> Result<Checked, CheckError> {
        for file in &self.files {
            if let Some(format) = file.declaration.format {
                let parsed = format.parse(&file.content);
                parsed.map_err(|source| CheckError::NotWellFormed {
                    destination: file.destination.as_str().to_owned(),
                    format,
                    source,
                })?;
            }
        }
        let staging = Staging(staging(root));
        staging
            .fill(&self.files)
            .map_err(|source| CheckError::Stage {
                path: staging.0.clone(),
                source,
            })?;
        for file in &self.files {
            let Some((program, arguments)) = file.declaration.check.split_first() else {
                continue;
            };
            let path = staging.0.join(file.destination.as_str());
            let destination = file.destination.as_str();
            let path = path.to_string_lossy();
            let arguments = arguments
                .iter()
                .map(|argument| argument.replace(FILE, &path));
            let status = run(Checker {
                destination,
                program,
                arguments: arguments.collect(),
            });
            let destination = destination.to_owned();
            let program = program.clone();
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    return Err(CheckError::Refused {
                        destination,
                        program,
                        status,
                    });
                }
                Err(source) => {
                    return Err(CheckError::Run {
                        destination,
                        program,
                        source,
                    });
                }
            }
        }
        let root = root.clone();
        let rendered = self;
        Ok(Checked { rendered, root })
    }
}

/// Where rendered files are while they are checked.
pub(super) fn staging(root: &Root) -> PathBuf {
    root.state().join("staging")
}

/// A folder of secrets, which goes when this does.
struct Staging(PathBuf);

impl Staging {
    fn fill(&self, files: &[File]) -> io::Result<()> {
        remove(&self.0)?;
        make_private(&self.0)?;
        for file in files {
            let path = self.0.join(file.destination.as_str());
            if let Some(folder) = path.parent() {
                make_private(folder)?;
            }
            let mut options = OpenOptions::new();
            let mut staged = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            staged.write_all(file.content.as_bytes())?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // If it cannot be removed now, the next check does.
        let _ = remove(&self.0);
    }
}

/// Removes a folder, if it is there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
