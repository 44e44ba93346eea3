//! `[registration.signers]`: services that hand over the address of the key that they sign with.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use anyhow::ensure;
use serde::Deserialize;

/// Where a service leaves its address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signer {
    /// The file; below `/run`, so that what is there is of this run of the machine.
    pub(crate) file: PathBuf,
    /// The only user who may have written it.
    pub(crate) owner: String,
}

/// Refuses names that are no service's, and `service`'s own: it has no file.
pub(super) fn check(signers: &BTreeMap<String, Signer>, service: &str) -> anyhow::Result<()> {
    for (name, Signer { file, .. }) in signers {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
        ensure!(
            !name.is_empty() && name.chars().all(is_plain) && name != service,
            "registration.signers has {name:?}: expected letters, digits and _, and another than registration.service"
        );
        let is_parent = |it| matches!(it, Component::ParentDir);
        ensure!(
            file.starts_with("/run") && !file.components().any(is_parent),
            "registration.signers.{name}.file is {}: expected a place below /run",
            file.display()
        );
    }
    Ok(())
}
