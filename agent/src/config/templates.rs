//! `[templates]` and `[switches]`: what the configuration becomes files for, and what it turns on.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::file::replace;

/// Where templates are if nothing else is said.
const DIRECTORY: &str = "/usr/share/cvm-agent/templates";

/// What may be switched: what does something when it is started.
const KINDS: [&str; 5] = ["service", "socket", "target", "timer", "path"];

/// Longest name of a unit; systemd's own limit.
const LONGEST_UNIT: usize = 255;

/// The templates that are rendered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Templates {
    /// Their directory, in which a path is a destination.
    pub(crate) directory: PathBuf,
}

/// A unit that runs if the configuration says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Switch {
    /// Which.
    pub(crate) unit: String,
    /// The key that says so, parts separated by dots: true or false.
    pub(crate) when: String,
    /// What it says if it is not there.
    pub(crate) default: bool,
}

/// What a drop-in says of `[templates]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplatesSection {
    directory: Option<PathBuf>,
}

/// What it says of one of `[switches]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchSection {
    unit: Option<String>,
    when: Option<String>,
    default: Option<bool>,
}

impl TemplatesSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.directory, later.directory);
    }

    pub(super) fn finish(self) -> anyhow::Result<Templates> {
        let directory = self.directory.unwrap_or_else(|| DIRECTORY.into());
        let is_plain = directory
            .components()
            .all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
        ensure!(
            is_plain && directory.is_absolute(),
            "templates.directory is {}: expected an absolute path",
            directory.display()
        );
        Ok(Templates { directory })
    }
}

impl SwitchSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.unit, later.unit);
        replace(&mut self.when, later.when);
        replace(&mut self.default, later.default);
    }

    fn finish(self, name: &str) -> anyhow::Result<Switch> {
        let missing = |what: &str| format!("no file sets switches.{name}.{what}");
        let switch = Switch {
            unit: self.unit.with_context(|| missing("unit"))?,
            when: self.when.with_context(|| missing("when"))?,
            default: self.default.with_context(|| missing("default"))?,
        };
        let (unit, when) = (&switch.unit, &switch.when);
        ensure!(
            is_unit(unit),
            "switches.{name}.unit is {unit:?}: expected a unit such as x.service"
        );
        ensure!(
            when.split('.').all(|part| !part.is_empty()),
            "switches.{name}.when is {when:?}: expected a key such as x.enabled"
        );
        Ok(switch)
    }
}

/// All switches, of which no two are one unit's.
pub(super) fn switches(
    sections: BTreeMap<String, SwitchSection>,
) -> anyhow::Result<BTreeMap<String, Switch>> {
    let mut switches = BTreeMap::<String, Switch>::new();
    for (name, section) in sections {
        let switch = section.finish(&name)?;
        let other = switches.iter().find(|(_, other)| other.unit == switch.unit);
        if let Some((other, _)) = other {
            bail!(
                "switches.{other} and switches.{name} are both for {}",
                switch.unit
            );
        }
        switches.insert(name, switch);
    }
    Ok(switches)
}

/// Whether it is the name of a unit, and nothing that `systemctl` reads as an option or a pattern.
fn is_unit(name: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || ":_.\\@-".contains(it);
    name.rsplit_once('.').is_some_and(|(stem, kind)| {
        KINDS.contains(&kind) && !stem.is_empty() && !stem.starts_with('-')
    }) && name.len() <= LONGEST_UNIT
        && name.chars().all(is_plain)
}
