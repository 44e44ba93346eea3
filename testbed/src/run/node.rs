//! One node: a simulated Azure host at an address of its own, and the way from there to the hub.
//!
//! I/O: starts the host; listens on loopback.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use measurements::Prediction;
use testkit::azure::host::{AzureHost, PORTS, Roots, RunningHost};
use testkit::azure::hub::NAME;
use testkit::azure::wireserver::GoalState;
use testkit::console::phases::phases;
use testkit::fetch::{fetch_insecure, url};
use testkit::machine::{Accelerator, Forward};
use testkit::tee::Tee;

use super::Options;
use super::facts::NodeFacts;
use super::registration::{self, Contact};
use super::services;
use crate::hub::{Admin, Builder, Hub};
use crate::registers::Comparison;
use crate::relay::Relay;
use crate::relying_party;
use crate::session::ATTESTATION_PORT;
use crate::shutdown;
use crate::story::{Story, Teller, disk, health};

/// How the hub is reached from inside: an address that QEMU forwards, and the port of its URL.
const HUB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(168, 20, 0, 1), 443);

/// How long the guest may take to shut down in order.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(90);
/// How long one attempt to reach it may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The node of this number, counted from 1: ports are forwarded from its address, and the hub sees it
/// come from there. 127.0.0.1 is the hub's.
pub(super) fn builder(number: u8) -> Builder {
    let name = format!("node-{number}");
    Builder {
        dns_name: format!("{name}.sim.test"),
        name,
        address: Ipv4Addr::new(127, 0, 0, number.saturating_add(1)),
    }
}

/// What all nodes share.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) options: &'a Options,
    pub(super) hub: &'a Hub,
    pub(super) accelerator: Accelerator,
    /// For what is written about the run.
    pub(super) run: &'a Path,
    /// For what outlasts it.
    pub(super) state: &'a Path,
    pub(super) teller: &'a Teller,
}

/// A node that runs.
pub(super) struct Node {
    builder: Builder,
    /// What the hub knew of it before it started.
    before: Contact,
    host: RunningHost,
    story: Story,
    answered: bool,
    state: PathBuf,
    logs: PathBuf,
    teller: Teller,
}

impl Node {
    /// Starts it.
    pub(super) fn start(
        builder: Builder,
        tee: Tee,
        surroundings: Surroundings<'_>,
    ) -> Result<Self> {
        let Surroundings { options, .. } = surroundings;
        let name = &builder.name;
        let before = registration::contact(surroundings.hub.admin(), name)?;
        let mut host = AzureHost::new(options.common.image.clone(), tee);
        host.name.clone_from(name);
        host.goal_state = GoalState::of_machine(name);
        host.memory = options.common.memory;
        host.cpus = options.common.cpus;
        host.accelerator = surroundings.accelerator;
        host.forwards = PORTS
            .map(|guest| Forward::same_if_free(guest, builder.address))
            .to_vec();
        let relay = Relay::start(builder.address, surroundings.hub.address("attested")?);
        let relay = relay.context("listen for the node")?;
        host.reach(HUB, Some(NAME), relay.address())?;
        let logs = surroundings.run.join(name);
        let state = surroundings.state.join(name);
        let host = host
            .start(&logs, &state)
            .with_context(|| format!("start {name}"))?;
        let teller = surroundings.teller.about(name);
        Ok(Self {
            builder,
            before,
            host,
            story: Story::new(teller.clone(), options.console),
            answered: false,
            state,
            logs,
            teller,
        })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.builder.name
    }

    /// What the hub knows of it since it started.
    pub(super) fn contact(&self, admin: &Admin) -> Result<Contact> {
        Ok(registration::contact(admin, self.name())?.since(&self.before))
    }

    /// Says what is new.
    pub(super) fn tell(&mut self) {
        self.story.tell(&self.host);
    }

    /// Whether it serves its certificate, to whoever asks; says what is new.
    pub(super) fn has_answered(&mut self) -> Result<bool> {
        self.tell();
        if !self.answered && self.story.is_booted() {
            let address = self.port(ATTESTATION_PORT)?;
            self.answered = fetch_insecure(address, "/cert", ANSWER_TIMEOUT).is_ok();
        }
        Ok(self.answered)
    }

    /// Fails if the machine has ended.
    pub(super) fn ensure_running(&self) -> Result<()> {
        if let Some(status) = self.host.machine.ended() {
            let name = self.name();
            bail!("{name} ended ({status}); its last words:\n{}", self.tail());
        }
        Ok(())
    }

    /// The console's end.
    pub(super) fn tail(&self) -> String {
        self.host.machine.console().tail(20)
    }

    /// Shuts it down; whether it did so in order.
    pub(super) fn end(&self) -> bool {
        let ended = shutdown::in_order(&self.host.machine, SHUTDOWN_TIMEOUT);
        if let Err(error) = &ended {
            self.teller.say(&format!("{error:#}"));
        }
        ended.is_ok()
    }

    fn port(&self, guest: u16) -> Result<SocketAddrV4> {
        let port = self.host.machine.forward_tcp(guest)?;
        Ok(SocketAddrV4::new(self.builder.address, port))
    }

    /// Asks the TPM, and has the node verified as a relying party would.
    pub(super) fn facts(
        &self,
        options: &Options,
        prediction: &Prediction,
        roots: &Roots,
        contact: Contact,
    ) -> Result<NodeFacts> {
        let pcrs = self.host.tpm.client().read_pcrs();
        let registers = Comparison::new(prediction, &pcrs.context("read the registers")?);
        let url = url(self.port(ATTESTATION_PORT)?, "/cert");
        let get = relying_party::arguments(&options.common.image, roots, &url);
        let certificate = self.logs.join("certificate.pem");
        let refusal = verify(&options.cvmctl, &get, &certificate)?;
        // Empty if there is none: it is not verified then.
        let served = std::fs::read_to_string(&certificate).unwrap_or_default();
        let mut ports = Vec::new();
        for guest in PORTS {
            ports.push((guest, self.port(guest)?));
        }
        let name = &self.builder.dns_name;
        let services = services::answers(name, &certificate, |guest| self.port(guest))?;
        Ok(NodeFacts {
            name: self.builder.name.clone(),
            dns_name: self.builder.dns_name.clone(),
            address: self.builder.address,
            ports: ports.into_iter().collect(),
            url,
            phases: phases(&self.host.machine.console().lines())
                .into_iter()
                .map(|(phase, at)| (phase.name(), at.as_secs_f64()))
                .collect(),
            equal: registers.is_equal(),
            registers,
            verified: refusal.is_none(),
            refusal,
            served_is_registered: contact.has(&served),
            served,
            services,
            certificate,
            get,
            hub: contact,
            health: health(self.host.wireserver.health().as_ref()),
            disk: disk(&self.host.disk().state()),
            wireserver: format!("http://{}", self.host.wireserver.address()),
            metadata: self.host.metadata.url(),
            state: self.state.clone(),
            logs: self.logs.clone(),
        })
    }
}

/// Has cvmctl get the certificate over an attested connection; returns why it refused.
fn verify(cvmctl: &Path, get: &[String], certificate: &Path) -> Result<Option<String>> {
    let mut arguments = get.to_vec();
    arguments.extend([
        "--out-response".to_owned(),
        certificate.display().to_string(),
    ]);
    // Of an earlier run.
    let _ = std::fs::remove_file(certificate);
    let output = relying_party::run(cvmctl, &arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        ensure!(
            certificate.exists(),
            "cvmctl trusts the node, and has written no certificate: {said}"
        );
        return Ok(None);
    }
    Ok(Some(format!("{}: {}", output.status, said.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_follow_the_hub() {
        assert_eq!(builder(1).name, "node-1");
        assert_eq!(builder(1).address, Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(builder(8).address, Ipv4Addr::new(127, 0, 0, 9));
    }
}
