//! What `cvm-agent boot` is told: `[clock]`, `[configuration]`, `[identity]`,
//! `[registration]`.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::http::uri::PathAndQuery;
use serde::Deserialize;

use super::disk::Disk;
use super::file::replace;
use super::signers::{self, Signer};
use super::templates::{Switch, Templates};

/// How often the configuration is fetched again if nothing else is said.
const REFRESH: Duration = Duration::from_secs(600);

/// Where the identity is kept if nothing else is said: as long as the machine runs.
const KEEP: &str = "/run/cvm-agent/identity/node.pem";

/// Seconds of a day.
const DAY: u64 = 86400;

/// Longest life of a certificate, in days: CAs' rules have come down from this.
const LONGEST_LIFE: u64 = 825;

/// How time has to be before the node is ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Clock {
    /// Ready does not wait until an authenticated source has set the clock.
    pub(crate) danger_unsynchronised: bool,
}

/// The configuration that the hub has for this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Configuration {
    /// Its path at the hub.
    pub(crate) path: String,
    /// How often it is fetched again.
    pub(crate) refresh: Duration,
    /// Keys without which it is refused, parts separated by dots, and what their values are.
    pub(crate) required: BTreeMap<String, Kind>,
    /// Keys that may be missing, and are refused if they are of another kind.
    pub(crate) optional: BTreeMap<String, Kind>,
}

/// What a value of the configuration is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A text that is not empty.
    Text,
    /// An IP address.
    Address,
    /// A DNS name.
    Name,
    /// A number.
    Number,
    /// A whole number from 0 up, or a text of its digits.
    Count,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// An object.
    Object,
}

/// The certificate of the node's services.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// Keys of the configuration whose values are certified, besides `localhost`.
    pub(crate) names: Vec<String>,
    /// Where it is found again.
    pub(crate) keep: Keep,
    /// Who gets the key.
    pub(crate) copies: Vec<Recipient>,
}

/// Where an identity is kept, and how long it is good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Keep {
    pub(crate) file: PathBuf,
    /// What is kept in memory has no end.
    pub(crate) lifetime: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            file: PathBuf::from(KEEP),
            lifetime: None,
        }
    }
}

/// A file with certificate and key for one service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipient {
    /// Where; below `/run`, which is memory.
    pub(crate) file: PathBuf,
    /// The only user who may read it.
    pub(crate) owner: String,
    /// The unit that is reloaded when it changes.
    pub(crate) reload: Option<String>,
    /// Where it shows the certificate, on this machine: it is asked there.
    pub(crate) address: Option<SocketAddr>,
}

/// Where the certificate is registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Registration {
    /// The path at the hub, without the service's name.
    pub(crate) path: String,
    /// As what the certificate is registered.
    pub(crate) service: String,
    /// The path of challenges that the key has to sign; a hub without has none.
    pub(crate) challenge: Option<String>,
    /// Services that hand over an address of their own, by the name that they are registered as.
    pub(crate) signers: BTreeMap<String, Signer>,
}

/// All of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Boot {
    pub(crate) clock: Clock,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) disk: Option<Disk>,
    pub(crate) identity: Identity,
    pub(crate) registration: Option<Registration>,
    pub(crate) templates: Option<Templates>,
    /// By name.
    pub(crate) switches: BTreeMap<String, Switch>,
}

/// What a drop-in says of `[clock]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockSection {
    danger_unsynchronised: Option<bool>,
}

/// What it says of `[configuration]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationSection {
    path: Option<String>,
    refresh_seconds: Option<u64>,
    #[serde(default)]
    required: BTreeMap<String, Kind>,
    #[serde(default)]
    optional: BTreeMap<String, Kind>,
}

/// What it says of `[identity]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentitySection {
    names: Option<Vec<String>>,
    keep: Option<PathBuf>,
    valid_days: Option<u64>,
    #[serde(default)]
    copies: BTreeMap<String, Recipient>,
}

/// What it says of `[registration]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationSection {
    path: Option<String>,
    service: Option<String>,
    challenge: Option<String>,
    #[serde(default)]
    signers: BTreeMap<String, Signer>,
}

impl ClockSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.danger_unsynchronised, later.danger_unsynchronised);
    }

    pub(super) fn finish(self) -> Clock {
        Clock {
            danger_unsynchronised: self.danger_unsynchronised.unwrap_or_default(),
        }
    }
}

impl ConfigurationSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.path, later.path);
        replace(&mut self.refresh_seconds, later.refresh_seconds);
        self.required.extend(later.required);
        self.optional.extend(later.optional);
    }

    pub(super) fn finish(self) -> anyhow::Result<Configuration> {
        let refresh = self.refresh_seconds.map(Duration::from_secs);
        let refresh = refresh.unwrap_or(REFRESH);
        if refresh.is_zero() {
            bail!("configuration.refresh_seconds is 0: expected a pause, such as 600");
        }
        let path = self.path.context("no file sets configuration.path")?;
        Ok(Configuration {
            path: absolute("configuration.path", path)?,
            refresh,
            required: self.required,
            optional: self.optional,
        })
    }
}

impl IdentitySection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.names, later.names);
        replace(&mut self.keep, later.keep);
        replace(&mut self.valid_days, later.valid_days);
        self.copies.extend(later.copies);
    }

    pub(super) fn finish(self) -> anyhow::Result<Identity> {
        for (name, copy) in &self.copies {
            let file = &copy.file;
            if !is_plain(file) || !file.starts_with("/run") {
                bail!(
                    "identity.copies.{name}.file is {}: a key is written below /run only",
                    file.display()
                );
            }
            if let Some(address) = copy.address
                && (!address.ip().is_loopback() || address.port() == 0)
            {
                bail!(
                    "identity.copies.{name}.address is {address}: expected one on loopback, such as 127.0.0.1:443"
                );
            }
        }
        let keep = keep(self.keep.unwrap_or_else(|| KEEP.into()), self.valid_days)?;
        Ok(Identity {
            names: self.names.unwrap_or_default(),
            keep,
            copies: self.copies.into_values().collect(),
        })
    }
}

impl RegistrationSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.path, later.path);
        replace(&mut self.service, later.service);
        replace(&mut self.challenge, later.challenge);
        self.signers.extend(later.signers);
    }

    pub(super) fn finish(self) -> anyhow::Result<Registration> {
        let missing = |what: &str| format!("there is a [registration], but no file sets {what}");
        let path = self.path.with_context(|| missing("registration.path"))?;
        let service = self
            .service
            .with_context(|| missing("registration.service"))?;
        if service.is_empty()
            || !service
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || it == '_')
        {
            bail!("registration.service is {service:?}: expected letters, digits and _");
        }
        signers::check(&self.signers, &service)?;
        let challenge = self
            .challenge
            .map(|it| absolute("registration.challenge", it));
        Ok(Registration {
            path: absolute("registration.path", path)?,
            service,
            challenge: challenge.transpose()?,
            signers: self.signers,
        })
    }
}

/// Absolute, and nowhere else than it looks.
fn is_plain(file: &Path) -> bool {
    let is_parent = |it| matches!(it, std::path::Component::ParentDir);
    file.is_absolute() && !file.components().any(is_parent)
}

/// What outlives the machine's run has to end; what does not, ends with it.
fn keep(file: PathBuf, days: Option<u64>) -> anyhow::Result<Keep> {
    let shown = file.display();
    if !is_plain(&file) {
        bail!("identity.keep is {shown}: expected an absolute path");
    }
    let lifetime = match (file.starts_with("/run"), days) {
        (true, None) => None,
        (false, Some(days @ 1..=LONGEST_LIFE)) => Some(Duration::from_secs(days * DAY)),
        (false, Some(days)) => {
            bail!("identity.valid_days is {days}: expected 1 to {LONGEST_LIFE}")
        }
        (false, None) => bail!(
            "identity.keep is {shown}, where it outlives the machine's run: \
             identity.valid_days has to say how long it is good, such as 90"
        ),
        (true, Some(_)) => bail!(
            "there is identity.valid_days, but identity.keep is {shown}, which ends with the \
             machine's run"
        ),
    };
    Ok(Keep { file, lifetime })
}

/// A path of an HTTP request, without query.
fn absolute(setting: &str, path: String) -> anyhow::Result<String> {
    let parsed: Option<PathAndQuery> = path.parse().ok();
    let is_path = parsed.is_some_and(|it| it.query().is_none() && it.path() == path);
    if !is_path || !path.starts_with('/') || path.ends_with('/') {
        bail!("{setting} is {path:?}: expected a path such as /api/v1");
    }
    Ok(path)
}

impl Boot {
    /// What a switch reads is true or false, or missing.
    pub(super) fn expect_switches(&mut self) {
        if let Some(configuration) = &mut self.configuration {
            let keys = self.switches.values().map(|it| it.when.clone());
            configuration
                .optional
                .extend(keys.map(|key| (key, Kind::Boolean)));
        }
    }

    /// Refuses what could never come to an end.
    pub(super) fn check(&self, attest: Option<&Path>) -> anyhow::Result<()> {
        for key in &self.identity.names {
            let required = self.configuration.as_ref().map(|it| &it.required);
            match required.and_then(|it| it.get(key)) {
                Some(Kind::Address | Kind::Name) => {}
                _ => bail!(
                    "identity.names has {key:?}, which configuration.required has not as address or name"
                ),
            }
        }
        let mut files: Vec<_> = self.identity.copies.iter().map(|it| &it.file).collect();
        files.sort();
        if let Some([one, _]) = files.array_windows().find(|[one, other]| one == other) {
            bail!("two of identity.copies are {}", one.display());
        }
        let keep = &self.identity.keep;
        let is_on = |disk: &super::disk::Disk| keep.file.starts_with(&disk.settings.mount_point);
        if keep.lifetime.is_some() && !self.disk.as_ref().is_some_and(is_on) {
            bail!(
                "identity.keep is {}, which is neither below /run nor on the data disk",
                keep.file.display()
            );
        }
        if files.contains(&&self.identity.keep.file) {
            bail!("identity.keep is one of identity.copies, which are others' to read");
        }
        let is_served = attest.is_some_and(|attest| files.iter().any(|file| *file == attest));
        if !files.is_empty() && !is_served {
            bail!("there are identity.copies, but none is attest.identity");
        }
        if files.is_empty() && self.registration.is_some() {
            bail!(
                "there is a [registration], but no identity.copies: nobody serves what it registers"
            );
        }
        Ok(())
    }
}
