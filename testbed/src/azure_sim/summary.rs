//! What runs where on a simulated host, for people and as JSON.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use measurements::Prediction;
use serde::Serialize;
use testkit::azure::host::{PORTS, Roots, RunningHost};
use testkit::console::phases::phases;
use testkit::fetch::{local, url};

use super::Options;
use crate::registers::Comparison;
use crate::relying_party::arguments;
use crate::session::ATTESTATION_PORT;
use crate::story::{disk, health};

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
        let url = url(local(*port.context("find the attestation port")?), "/cert");
        let pcrs = host
            .tpm
            .client()
            .read_pcrs()
            .context("read the registers")?;
        let registers = Comparison::new(prediction, &pcrs);
        let image = options.image().to_owned();
        Ok(Self {
            verify: format!("cvmctl {}", arguments(&image, &host.roots, &url).join(" ")),
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
