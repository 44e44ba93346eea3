//! `[disk]`: which disk the node's data are on, where its key comes from, and how it is used.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use encrypted_disk::luks::KeyDerivation;
use encrypted_disk::{Check, Selector, Settings};
use serde::Deserialize;

use super::file::replace;
use super::node::Kind;

/// The data disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Disk {
    /// Which one.
    pub(crate) selector: Selector,
    /// Where its key comes from.
    pub(crate) key: KeySource,
    /// How it is used.
    pub(crate) settings: Settings,
}

/// Where a disk's key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum KeySource {
    /// The node's configuration, which the hub has.
    Configuration {
        /// Whose value is the key.
        key: String,
        /// Whose value is the key before it, while there is one.
        previous: Option<String>,
    },
}

/// What a drop-in says of it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    azure_lun: Option<u16>,
    serial: Option<String>,
    by_id: Option<String>,
    danger_any_controller_lun: Option<u16>,
    key: Option<String>,
    previous_key: Option<String>,
    mapping: Option<String>,
    mount_point: Option<PathBuf>,
    formats_blank: Option<bool>,
    discards: Option<bool>,
    executes: Option<bool>,
    check: Option<Check>,
    key_derivation: Option<KeyDerivation>,
}

impl Section {
    /// Refuses what one drop-in must not say at the same time.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.selectors().len() > 1 {
            bail!(
                "disk.azure_lun, .serial, .by_id and .danger_any_controller_lun are answers to one question: set one"
            );
        }
        Ok(())
    }

    pub(super) fn replace_with(&mut self, later: Self) {
        // Each kind of selector replaces every other one.
        if !later.selectors().is_empty() {
            self.azure_lun = later.azure_lun;
            self.serial = later.serial;
            self.by_id = later.by_id;
            self.danger_any_controller_lun = later.danger_any_controller_lun;
        }
        replace(&mut self.key, later.key);
        replace(&mut self.previous_key, later.previous_key);
        replace(&mut self.mapping, later.mapping);
        replace(&mut self.mount_point, later.mount_point);
        replace(&mut self.formats_blank, later.formats_blank);
        replace(&mut self.discards, later.discards);
        replace(&mut self.executes, later.executes);
        replace(&mut self.check, later.check);
        replace(&mut self.key_derivation, later.key_derivation);
    }

    fn selectors(&self) -> Vec<Selector> {
        let any = self.danger_any_controller_lun;
        [
            self.azure_lun.map(Selector::AzureLun),
            self.serial.clone().map(Selector::Serial),
            self.by_id.clone().map(Selector::ById),
            any.map(Selector::DangerAnyControllerLun),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Fills in what is left open. The configuration has to have the key: `required` is what it is refused
    /// without.
    pub(super) fn finish(self, required: Option<&BTreeMap<String, Kind>>) -> anyhow::Result<Disk> {
        let missing = |what: &str| format!("there is a [disk], but no file sets {what}");
        let selector = self.selectors().into_iter().next().with_context(|| {
            missing("which: disk.azure_lun, .serial, .by_id or .danger_any_controller_lun")
        })?;
        let key = self.key.with_context(|| missing("disk.key"))?;
        let is_text = |key: &String| required.and_then(|it| it.get(key)) == Some(&Kind::Text);
        ensure!(
            is_text(&key),
            "disk.key is {key:?}, which configuration.required has not as text"
        );
        let defaults = Settings::default();
        let settings = Settings {
            mapping: self.mapping.unwrap_or(defaults.mapping),
            mount_point: self.mount_point.unwrap_or(defaults.mount_point),
            formats_blank: self.formats_blank.unwrap_or(defaults.formats_blank),
            discards: self.discards.unwrap_or(defaults.discards),
            executes: self.executes.unwrap_or(defaults.executes),
            check: self.check.unwrap_or(defaults.check),
            key_derivation: self.key_derivation.unwrap_or(defaults.key_derivation),
            scratch: defaults.scratch,
            mounts: defaults.mounts,
        };
        check_mapping(&settings.mapping)?;
        check_mount_point(&settings.mount_point)?;
        let previous = self.previous_key;
        Ok(Disk {
            selector,
            key: KeySource::Configuration { key, previous },
            settings,
        })
    }
}

/// It becomes an argument, and the name of a file.
fn check_mapping(mapping: &str) -> anyhow::Result<()> {
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    ensure!(
        !mapping.is_empty() && mapping.len() <= 32 && mapping.chars().all(is_plain),
        "disk.mapping is {mapping:?}: expected up to 32 small letters, digits and _"
    );
    Ok(())
}

/// Where no disk can be mounted: what is the system's, what the agent's unit has of its own or does not see, and what
/// is taken for memory, such as `/run`, where keys are.
const TAKEN: [&str; 17] = [
    "/bin", "/boot", "/dev", "/efi", "/etc", "/home", "/lib", "/lib32", "/lib64", "/proc", "/root",
    "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/tmp",
];

/// It becomes an argument and the name of a unit, and is compared with what the kernel says is mounted.
fn check_mount_point(point: &Path) -> anyhow::Result<()> {
    let shown = point.display();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.');
    let names = point.to_str().and_then(|it| it.strip_prefix('/'));
    let is_path = names.is_some_and(|names| {
        names.split('/').all(|name| {
            !name.is_empty() && !matches!(name, "." | "..") && name.chars().all(is_plain)
        })
    });
    ensure!(
        is_path,
        "disk.mount_point is {shown}: expected an absolute path of letters, digits, _, - and ., such as /persistent"
    );
    let taken = TAKEN.iter().find(|taken| point.starts_with(taken));
    let taken = taken.or((point == Path::new("/var")).then_some(&"/var"));
    if let Some(taken) = taken {
        bail!("disk.mount_point is {shown}: {taken} is not for disks");
    }
    Ok(())
}
