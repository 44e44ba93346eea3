//! One drop-in, and what several of them come to.
//!
//! I/O: none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use attested_http::Target;
use attester::Choice;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::{Attest, Config, Hub, HubProtocol};

/// `[::]` also takes IPv4 and is there before any address is, so nothing waits for the network.
const ATTEST: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7936);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 14727);
const HUB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7937);

/// What Debian's `ca-certificates` makes of the public certification authorities.
const PUBLIC_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a drop-in sets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    attest: AttestSection,
    hub: Option<HubSection>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestSection {
    listen: Option<SocketAddr>,
    local: Option<SocketAddr>,
    names: Option<Vec<Name>>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HubSection {
    url: Option<Url>,
    protocol: Option<HubProtocol>,
    roots: Option<PathBuf>,
    listen: Option<SocketAddr>,
}

impl File {
    /// Parses a drop-in.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        // The error shows the line; trailing line ends would leave a hole in a log.
        toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))
    }

    /// Lets `later` have its way in everything that it sets.
    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.attest.listen, later.attest.listen);
        replace(&mut self.attest.local, later.attest.local);
        replace(&mut self.attest.names, later.attest.names);
        replace(&mut self.attest.kind, later.attest.kind);
        if let Some(later) = later.hub {
            let hub = self.hub.get_or_insert_default();
            replace(&mut hub.url, later.url);
            replace(&mut hub.protocol, later.protocol);
            replace(&mut hub.roots, later.roots);
            replace(&mut hub.listen, later.listen);
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
        };
        let hub = self.hub.map(HubSection::finish).transpose()?;
        Ok(Config { attest, hub })
    }
}

impl HubSection {
    fn finish(self) -> anyhow::Result<Hub> {
        let missing = |what: &str| format!("there is a [hub], but no file sets {what}");
        Ok(Hub {
            target: self.url.with_context(|| missing("hub.url"))?.0,
            protocol: self.protocol.with_context(|| missing("hub.protocol"))?,
            roots: self.roots.unwrap_or_else(|| PUBLIC_ROOTS.into()),
            listen: loopback("hub.listen", self.listen.unwrap_or(HUB))?,
        })
    }
}

fn replace<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

/// What is served in plain text is served to this machine only.
fn loopback(setting: &str, address: SocketAddr) -> anyhow::Result<SocketAddr> {
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

/// An address of a hub.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Url(Target);

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let target: Target = text.parse().map_err(|error| format!("{error}"))?;
        if !target.is_https() {
            return Err(format!(
                "{text:?} is not https: the hub has to prove its name"
            ));
        }
        if target.base().query().is_some() {
            return Err(format!("{text:?} has a query, expected a path at most"));
        }
        Ok(Self(target))
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
