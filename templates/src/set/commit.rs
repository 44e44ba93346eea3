//! Puts a checked set in place, so that a crash at any moment leaves either all old files or, once
//! [`Root::recover`] or the next commit has run, all new ones.
//!
//! First every changed file is written beside its destination, then all are renamed. The journal says
//! before each of the two which it is. Renames of several files are not one step: who reads two files
//! at once may see one old and one new. Units are told when all are in place.
//!
//! I/O: that of its steps, in `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::accounts::Account;
use super::check::{self, Checked};
use super::plan::{plan, read_journal, recover, undo_staging, write_journal};
use super::root::Root;

/// What happened to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It has other content, permissions or owner than before, or is new.
    Written,
    /// Nothing is rendered for it any more.
    Removed,
}

/// A destination that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Units to reload.
    pub reload: Vec<String>,
    /// Units to restart.
    pub restart: Vec<String>,
}

/// What has changed since units were last told.
#[derive(Debug)]
#[must_use = "units have to be told"]
pub struct Changes {
    root: Root,
    pending: BTreeMap<String, Change>,
}

/// Why a set is not in place. What was there before is, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// An owner or group is not in the root's tables.
    #[error("{destination}: there is no account {account:?}")]
    Account {
        /// Of which file.
        destination: String,
        /// Which.
        account: Account,
    },
    /// The root's tables of accounts cannot be read.
    #[error("read {path}")]
    Accounts {
        /// Which.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A destination, or the file beside it, cannot be read or written: a link or a file is where a
    /// folder should be, it may not be written, there is no space.
    #[error("{destination}: {action}")]
    File {
        /// Which.
        destination: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A destination cannot be swapped, or what was written for it has vanished; others may have been
    /// swapped. The next commit goes on.
    #[error("{destination}: put the new file in place")]
    Swap {
        /// Which.
        destination: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Rendered files that a check has left cannot be removed.
    #[error("remove what a check left in {path}")]
    Staging {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be read or written.
    #[error("keep the journal {path}")]
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Changes {
    /// The destinations, relative to the root, and what happened to each.
    pub fn destinations(&self) -> impl Iterator<Item = (&str, ChangeKind)> {
        let pending = self.pending.iter();
        pending.map(|(destination, change)| (destination.as_str(), change.kind))
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The units to restart.
    pub fn restart(&self) -> BTreeSet<&str> {
        let units = self.pending.values().flat_map(|change| &change.restart);
        units.map(String::as_str).collect()
    }

    /// The units to reload, of which none is to be restarted.
    pub fn reload(&self) -> BTreeSet<&str> {
        let units = self.pending.values().flat_map(|change| &change.reload);
        let restart = self.restart();
        let units = units.map(String::as_str);
        units.filter(|unit| !restart.contains(unit)).collect()
    }

    /// Forgets one unit: it has been told. What is reported after a crash or by the next commit is
    /// without it, unless a file of it has changed again.
    ///
    /// # Errors
    ///
    /// If the journal cannot be written. Then it is reported again.
    pub fn told(&mut self, unit: &str) -> Result<(), CommitError> {
        let mut journal = read_journal(&self.root)?;
        let forget = |pending: &mut BTreeMap<String, Change>| {
            for change in pending.values_mut() {
                change.reload.retain(|other| other != unit);
                change.restart.retain(|other| other != unit);
            }
        };
        forget(&mut journal.pending);
        write_journal(&self.root, &journal)?;
        forget(&mut self.pending);
        Ok(())
    }

    /// Forgets the changes: all units have been told.
    ///
    /// # Errors
    ///
    /// If the journal cannot be written. Then they are reported again.
    pub fn done(self) -> Result<(), CommitError> {
        let mut journal = read_journal(&self.root)?;
        journal.pending = BTreeMap::new();
        write_journal(&self.root, &journal)
    }
}

impl Root {
    /// Completes, or undoes, a commit that was cut off, and removes what a check that was cut off has
    /// left; says what units have not been told of yet. For a start at which there is nothing to render
    /// yet; a check and a commit do it by themselves.
    ///
    /// # Errors
    ///
    /// If files cannot be put in place or removed, or the journal cannot be kept.
    pub fn recover(&self) -> Result<Changes, CommitError> {
        let path = check::staging(self);
        check::remove(&path).map_err(|source| CommitError::Staging { path, source })?;
        let journal = recover(self)?;
        Ok(Changes {
            root: self.clone(),
            pending: journal.pending,
        })
    }
}

impl Root {
    /// Whether a commit has put files in place that are still its own.
    ///
    /// # Errors
    ///
    /// If the journal cannot be read.
    pub fn has_files(&self) -> Result<bool, CommitError> {
        Ok(!read_journal(self)?.owned.is_empty())
    }
}

impl Checked {
    /// Puts all files that differ in place, and removes those that were rendered once and are no more.
    ///
    /// # Errors
    ///
    /// If an account is not known, a file cannot be written, or the journal cannot be kept.
    pub fn commit(self) -> Result<Changes, CommitError> {
        let journal = recover(&self.root)?;
        let steps = plan(&self.rendered, &self.root, journal)?;
        for step in &steps {
            if let Err(error) = step.apply(&self.root) {
                // A half-written set goes at once; a half-swapped one is completed by the next commit.
                let _ = undo_staging(&self.root);
                return Err(error);
            }
        }
        let root = self.root;
        let pending = read_journal(&root)?.pending;
        Ok(Changes { root, pending })
    }
}
