//! `[hub]`: who the hub is, and where services on this machine reach it.
//!
//! I/O: none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use attested_http::Target;
use serde::Deserialize;

use super::file::{loopback, replace};

/// Where the proxy to the hub listens if nothing else is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7937);

/// What Debian's `ca-certificates` makes of the public certification authorities.
const PUBLIC_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The hub, and the proxy to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hub {
    /// Its address: `https`, and a path that is put before every request's.
    pub(crate) target: Target,
    /// How evidence gets there.
    pub(crate) protocol: HubProtocol,
    /// Whoever one of these certificates vouches for may be the hub.
    pub(crate) roots: Roots,
    /// Where services on this machine reach it, in plain text.
    pub(crate) listen: SocketAddr,
    /// Paths for which everybody on this machine may ask it; the others are root's.
    pub(crate) open: Vec<String>,
}

/// How evidence gets to the hub.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HubProtocol {
    /// Constellation-style aTLS: in the client's certificate.
    Atls,
    /// `flashbots-ratls/1`: after the handshake.
    Ratls,
}

/// Certificates of authorities, PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Roots {
    /// A file of the image.
    File(PathBuf),
    /// In the drop-in itself.
    Pem(String),
}

/// What a drop-in says of the hub.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    url: Option<Url>,
    protocol: Option<HubProtocol>,
    roots: Option<PathBuf>,
    roots_pem: Option<String>,
    listen: Option<SocketAddr>,
    open: Option<Vec<String>>,
}

impl Section {
    /// Refuses what one drop-in must not say at the same time.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.roots.is_some() && self.roots_pem.is_some() {
            bail!("hub.roots and hub.roots_pem are two answers to one question: set one");
        }
        Ok(())
    }

    pub(super) fn replace_with(&mut self, later: Self) {
        replace(&mut self.url, later.url);
        replace(&mut self.protocol, later.protocol);
        replace(&mut self.listen, later.listen);
        replace(&mut self.open, later.open);
        // Each kind of roots replaces the other: roots of two files never add up.
        if later.roots.is_some() || later.roots_pem.is_some() {
            self.roots = later.roots;
            self.roots_pem = later.roots_pem;
        }
    }

    pub(super) fn finish(self) -> anyhow::Result<Hub> {
        let missing = |what: &str| format!("there is a [hub], but no file sets {what}");
        let roots = match (self.roots, self.roots_pem) {
            (_, Some(pem)) => Roots::Pem(pem),
            (Some(file), None) => Roots::File(file),
            (None, None) => Roots::File(PUBLIC_ROOTS.into()),
        };
        let open = self.open.unwrap_or_default();
        if let Some(path) = open.iter().find(|it| !it.starts_with('/') || *it == "/") {
            bail!(
                "hub.open has {path:?}: expected a path such as /api/v1/builders, or below /api/v1/public/"
            );
        }
        Ok(Hub {
            target: self.url.with_context(|| missing("hub.url"))?.0,
            protocol: self.protocol.with_context(|| missing("hub.protocol"))?,
            roots,
            listen: loopback("hub.listen", self.listen.unwrap_or(LISTEN))?,
            open,
        })
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
