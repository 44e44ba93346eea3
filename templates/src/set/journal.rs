//! What is remembered between commits: which files are ours, how far a commit is, and what has
//! changed that nobody has been told of. Names only.
//!
//! I/O: reads and writes one file in the state folder.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::commit::Change;

const NAME: &str = "journal.json";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The destinations that we wrote, with the units to tell should they go.
    pub(super) owned: BTreeMap<String, Units>,
    pub(super) phase: Phase,
    /// By destination.
    pub(super) pending: BTreeMap<String, Change>,
}

/// How far a commit is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// No commit.
    #[default]
    Idle,
    /// New files are written beside these destinations: to be thrown away.
    Staging(Vec<String>),
    /// All are written, and are being put in place: to be completed.
    Swapping {
        written: Vec<String>,
        removed: Vec<String>,
    },
}

/// Who is told when a destination changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Units {
    pub(super) reload: Vec<String>,
    pub(super) restart: Vec<String>,
}

impl Journal {
    /// Reads it, empty if there is none.
    pub(super) fn read(state: &Path) -> io::Result<Self> {
        match fs::read(path(state)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces it.
    pub(super) fn write(&self, state: &Path) -> io::Result<()> {
        make_private(state)?;
        let new = state.join(format!("{NAME}.new"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path(state))?;
        File::open(state)?.sync_all()
    }
}

pub(super) fn path(state: &Path) -> PathBuf {
    state.join(NAME)
}

/// Makes a folder that only its owner can enter, if it is not there.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
