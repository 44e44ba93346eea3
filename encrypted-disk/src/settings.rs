//! What a configuration says about the data disk.
//!
//! I/O: none.

use std::path::PathBuf;

use serde::Deserialize;

use crate::luks::KeyDerivation;

/// How the disk is used. Everything has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    /// Who mounts and unmounts. Not for a configuration: it is a matter of how the program is run.
    #[serde(skip)]
    pub mounts: Mounts,
}

/// Who mounts the file system, and unmounts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// This process: others see the mount if they share its mount namespace.
    #[default]
    Here,
    /// systemd, for everybody: for a service in a mount namespace of its own, which sees it too.
    BySystemd,
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
            mounts: Mounts::Here,
        }
    }
}
