//! What a configuration says about the data disk.
//!
//! I/O: none.

use std::path::PathBuf;

use serde::Deserialize;

use crate::luks::KeyDerivation;

/// How the disk is used. Everything has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The name of the mapping, below `/dev/mapper`.
    pub mapping: String,
    /// Where the file system is mounted. The folder has to exist.
    pub mount_point: PathBuf,
    /// Whether a blank disk is formatted. If not, that takes an operator's [`crate::Confirmation`].
    pub formats_blank: bool,
    /// Whether freed blocks are discarded: faster and cheaper on some disks, but whoever has
    /// the disk sees which blocks are free.
    pub discards: bool,
    /// Whether programs on it can be run.
    pub executes: bool,
    /// How far damage of the file system is repaired without a question.
    pub check: Check,
    /// Which key derivations are accepted.
    pub key_derivation: KeyDerivation,
    /// Where headers are held in memory, as files: in tmpfs.
    pub scratch: PathBuf,
}

/// How far e2fsck goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// What loses no data. What is worse is an error.
    Safe,
    /// Everything, if that loses damaged files. For a boot on which an operator wants it.
    DangerRepairAll,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mapping: "data".to_owned(),
            mount_point: PathBuf::from("/persistent"),
            formats_blank: true,
            discards: false,
            executes: false,
            check: Check::Safe,
            key_derivation: KeyDerivation::Pbkdf2,
            scratch: PathBuf::from("/run"),
        }
    }
}
