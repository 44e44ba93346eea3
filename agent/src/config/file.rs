//! One drop-in, and what several of them come to.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::bail;
use attester::Choice;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::node::{Boot, ClockSection, ConfigurationSection, IdentitySection, RegistrationSection};
use super::templates::{SwitchSection, TemplatesSection, switches};
use super::{Attest, Config, disk, hub};

/// `[::]` also takes IPv4 and is there before any address is, so nothing waits for the network.
const ATTEST: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7936);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 14727);

/// What a drop-in sets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    attest: AttestSection,
    hub: Option<hub::Section>,
    #[serde(default)]
    clock: ClockSection,
    configuration: Option<ConfigurationSection>,
    #[serde(default)]
    identity: IdentitySection,
    registration: Option<RegistrationSection>,
    templates: Option<TemplatesSection>,
    #[serde(default)]
    switches: BTreeMap<String, SwitchSection>,
    disk: Option<disk::Section>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestSection {
    listen: Option<SocketAddr>,
    local: Option<SocketAddr>,
    names: Option<Vec<Name>>,
    identity: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

impl File {
    /// Parses a drop-in.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        // The error shows the line; trailing line ends would leave a hole in a log.
        let file: Self = toml::from_str(text)
            .map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))?;
        file.hub.as_ref().map_or(Ok(()), hub::Section::check)?;
        file.disk.as_ref().map_or(Ok(()), disk::Section::check)?;
        Ok(file)
    }

    /// Lets `later` have its way in everything that it sets.
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.attest.listen, later.attest.listen);
        replace(&mut self.attest.local, later.attest.local);
        replace(&mut self.attest.names, later.attest.names);
        replace(&mut self.attest.kind, later.attest.kind);
        replace(&mut self.attest.identity, later.attest.identity);
        if let Some(later) = later.hub {
            self.hub.get_or_insert_default().replace_with(later);
        }
        self.clock.replace_with(later.clock);
        if let Some(later) = later.configuration {
            let section = self.configuration.get_or_insert_default();
            section.replace_with(later);
        }
        if let Some(later) = later.disk {
            self.disk.get_or_insert_default().replace_with(later);
        }
        self.identity.replace_with(later.identity);
        if let Some(later) = later.registration {
            self.registration
                .get_or_insert_default()
                .replace_with(later);
        }
        if let Some(later) = later.templates {
            self.templates.get_or_insert_default().replace_with(later);
        }
        for (name, later) in later.switches {
            self.switches.entry(name).or_default().replace_with(later);
        }
    }

    /// Fills in what is left open, and refuses what cannot be.
    pub(super) fn finish(self) -> anyhow::Result<Config> {
        let names = self.attest.names.unwrap_or_default();
        let attest = Attest {
            listen: self.attest.listen.unwrap_or(ATTEST),
            local: loopback("attest.local", self.attest.local.unwrap_or(LOCAL))?,
            names: names.into_iter().map(|name| name.0).collect(),
            kind: self.attest.kind.map_or(Choice::Auto, |kind| kind.0),
            identity: self.attest.identity,
        };
        let hub = self.hub.map(hub::Section::finish).transpose()?;
        let configuration = self
            .configuration
            .map(ConfigurationSection::finish)
            .transpose()?;
        let required = configuration.as_ref().map(|it| &it.required);
        let disk = self.disk.map(|disk| disk.finish(required)).transpose()?;
        let registration = self.registration.map(RegistrationSection::finish);
        let mut boot = Boot {
            clock: self.clock.finish(),
            configuration,
            disk,
            identity: self.identity.finish()?,
            registration: registration.transpose()?,
            templates: self.templates.map(TemplatesSection::finish).transpose()?,
            switches: switches(self.switches)?,
        };
        boot.expect_switches();
        boot.check(attest.identity.as_deref())?;
        if hub.is_none() && (boot.configuration.is_some() || boot.registration.is_some()) {
            bail!("there is a [configuration] or [registration], but no [hub] to ask");
        }
        Ok(Config { attest, hub, boot })
    }
}

pub(super) fn replace<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

/// What is served in plain text is served to this machine only.
pub(super) fn loopback(setting: &str, address: SocketAddr) -> anyhow::Result<SocketAddr> {
    if !address.ip().is_loopback() {
        bail!("{setting} is {address}: plain text is served on loopback only, such as 127.0.0.1");
    }
    Ok(address)
}

/// A DNS name or an address.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(ServerName<'static>);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ServerName::try_from(text.clone())
            .map(Self)
            .map_err(|_| format!("{text:?} is neither a DNS name nor an IP address"))
    }
}

/// The name of a kind of evidence, or `auto`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Kind(Choice);

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is no kind of evidence; there are auto, azure-tdx and dcap-tdx")
        })
    }
}
