//! What runs where on a simulated host, for people and as JSON.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use measurements::Prediction;
use serde::Serialize;
use testkit::azure::disk::DiskState;
use testkit::azure::host::{PORTS, Roots, RunningHost};
use testkit::azure::wireserver::Health;
use testkit::console::phases::phases;
use testkit::fetch::url;

use super::Options;
use crate::registers::Comparison;
use crate::session::ATTESTATION_PORT;

/// A running node and what is around it.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    image: PathBuf,
    url: String,
    /// The guest's ports, and where they are on 127.0.0.1.
    ports: BTreeMap<u16, u16>,
    wireserver: String,
    metadata: String,
    state: PathBuf,
    logs: PathBuf,
    roots: Roots,
    /// How the node can be verified.
    verify: String,
    health: String,
    disk: String,
    /// Seconds from power-on to the beginning of each phase.
    phases: BTreeMap<&'static str, f64>,
    registers: Comparison,
    equal: bool,
}

impl Summary {
    /// Asks the host.
    pub(super) fn of(
        host: &RunningHost,
        options: &Options,
        logs: &Path,
        prediction: &Prediction,
    ) -> Result<Self> {
        let mut ports = BTreeMap::new();
        for guest in PORTS {
            ports.insert(guest, host.machine.forward_tcp(guest)?);
        }
        let port = ports.get(&ATTESTATION_PORT);
        let url = url(*port.context("find the attestation port")?, "/cert");
        let pcrs = host
            .tpm
            .client()
            .read_pcrs()
            .context("read the registers")?;
        let registers = Comparison::new(prediction, &pcrs);
        let image = options.image().to_owned();
        Ok(Self {
            verify: verification(&host.roots, &image, &url),
            image,
            url,
            ports,
            wireserver: format!("http://{}", host.wireserver.address()),
            metadata: host.metadata.url(),
            state: options.state(logs),
            logs: logs.to_owned(),
            roots: host.roots.clone(),
            health: health(host.wireserver.health().as_ref()),
            disk: disk(&host.disk().state()),
            phases: phases(&host.machine.console().lines())
                .into_iter()
                .map(|(phase, at)| (phase.name(), at.as_secs_f64()))
                .collect(),
            equal: registers.is_equal(),
            registers,
        })
    }

    /// Whether the registers are as predicted.
    pub(super) fn is_equal(&self) -> bool {
        self.equal
    }
}

/// The command that verifies the node.
fn verification(roots: &Roots, image: &Path, url: &str) -> String {
    let flags = roots_flags(roots).map(|(flag, path)| format!("{flag} {}", path.display()));
    let image = image.display();
    format!("cvmctl get --image {image} {} {url}", flags.join(" "))
}

/// What tells cvmctl to trust a simulated machine.
pub(super) fn roots_flags(roots: &Roots) -> [(&'static str, &Path); 3] {
    [
        ("--danger-trust-root", &roots.processor),
        ("--danger-trust-ak-root", &roots.attestation_key),
        ("--collateral", &roots.collateral),
    ]
}

/// Where the data disk is, in words.
pub(super) fn disk(state: &DiskState) -> String {
    let at = |at: &Duration| format!("{:.1} s after power-on", at.as_secs_f64());
    match state {
        DiskState::Away => "not there".to_owned(),
        DiskState::There(since) => format!("there since {}", at(since)),
        DiskState::Gone(since) => format!("gone since {}", at(since)),
        DiskState::Failed(why) => format!("QEMU refused: {why}"),
    }
}

/// What the node last reported, in words.
pub(super) fn health(health: Option<&Health>) -> String {
    match health {
        None => "not reported".to_owned(),
        Some(Health::Ready) => "ready".to_owned(),
        Some(Health::NotReady(details)) => {
            format!("not ready, {}: {}", details.sub_status, details.description)
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe node, and where its ports are on 127.0.0.1:")?;
        for (guest, host) in &self.ports {
            writeln!(f, "  {guest:>5}  {host}")?;
        }
        writeln!(f, "It asks, as 168.63.129.16 and 169.254.169.254:")?;
        writeln!(
            f,
            "  wireserver {}  health: {}",
            self.wireserver, self.health
        )?;
        writeln!(f, "  metadata   {}", self.metadata)?;
        writeln!(f, "Its data disk: {}", self.disk)?;
        writeln!(f, "It measured:\n{}", self.registers)?;
        writeln!(
            f,
            "Made with test keys, trusted by nobody who is not told to. To verify it:"
        )?;
        writeln!(f, "  {}", self.verify)?;
        writeln!(f, "State: {}", self.state.display())?;
        writeln!(f, "Logs: {}", self.logs.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_names_all_roots() {
        let roots = Roots {
            processor: "/r/p.pem".into(),
            attestation_key: "/r/a.pem".into(),
            collateral: "/r/c.json".into(),
        };
        assert_eq!(
            verification(&roots, Path::new("/i.vhd"), "https://127.0.0.1:1/cert"),
            "cvmctl get --image /i.vhd --danger-trust-root /r/p.pem --danger-trust-ak-root /r/a.pem \
             --collateral /r/c.json https://127.0.0.1:1/cert"
        );
    }

    #[test]
    fn disk_is_told_in_words() {
        let there = DiskState::There(Duration::from_millis(52_540));
        assert_eq!(disk(&there), "there since 52.5 s after power-on");
    }
}
