//! What `cvm-agent boot` is told: `[clock]`, `[azure]`, `[configuration]`, `[identity]`,
//! `[registration]`.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::http::uri::PathAndQuery;
use serde::Deserialize;

use super::disk::Disk;
use super::file::replace;

/// Azure's platform service, `spec/node.md` I3.
const WIRESERVER: &str = "http://168.63.129.16";

/// How often the configuration is fetched again if nothing else is said.
const REFRESH: Duration = Duration::from_secs(600);

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
    /// Who gets the key.
    pub(crate) copies: Vec<Recipient>,
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
}

/// All of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Boot {
    pub(crate) clock: Clock,
    pub(crate) wireserver: String,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) disk: Option<Disk>,
    pub(crate) identity: Identity,
    pub(crate) registration: Option<Registration>,
}

/// What a drop-in says of `[clock]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockSection {
    danger_unsynchronised: Option<bool>,
}

/// What it says of `[azure]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AzureSection {
    wireserver: Option<String>,
}

/// What it says of `[configuration]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationSection {
    path: Option<String>,
    refresh_seconds: Option<u64>,
    #[serde(default)]
    required: BTreeMap<String, Kind>,
}

/// What it says of `[identity]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentitySection {
    names: Option<Vec<String>>,
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

impl AzureSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.wireserver, later.wireserver);
    }

    pub(super) fn finish(self) -> String {
        self.wireserver.unwrap_or_else(|| WIRESERVER.to_owned())
    }
}

impl ConfigurationSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.path, later.path);
        replace(&mut self.refresh_seconds, later.refresh_seconds);
        self.required.extend(later.required);
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
        })
    }
}

impl IdentitySection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.names, later.names);
        self.copies.extend(later.copies);
    }

    pub(super) fn finish(self) -> anyhow::Result<Identity> {
        for (name, copy) in &self.copies {
            let file = &copy.file;
            let is_plain = file
                .components()
                .all(|it| !matches!(it, std::path::Component::ParentDir));
            if !is_plain || !file.starts_with("/run") {
                bail!(
                    "identity.copies.{name}.file is {}: a key is written below /run only",
                    file.display()
                );
            }
        }
        Ok(Identity {
            names: self.names.unwrap_or_default(),
            copies: self.copies.into_values().collect(),
        })
    }
}

impl RegistrationSection {
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.path, later.path);
        replace(&mut self.service, later.service);
        replace(&mut self.challenge, later.challenge);
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
        let challenge = self
            .challenge
            .map(|it| absolute("registration.challenge", it));
        Ok(Registration {
            path: absolute("registration.path", path)?,
            service,
            challenge: challenge.transpose()?,
        })
    }
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
