//! What is around the node of a test: hubs, and the host.
//!
//! I/O: starts hubs and hosts; runs builderhub; files in the scene's directory.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use measurements::Prediction;
use measurements::reference::{AttestationType, ReferenceValues};
use serde_json::{Value, json};
use testkit::azure::host::{AzureHost, Roots};
use testkit::azure::hub::{NAME, certify, certify_by_a_stranger};
use testkit::azure::way::Course;
use testkit::azure::wireserver::GoalState;
use testkit::machine::Accelerator;
use testkit::tee::Tee;

use super::disk::{Attached, Medium};
use super::hub::ScriptedHub;
use super::node::{Node, Plan};
use super::sample::Sample;
use crate::Common;
use crate::hub::{Builder, Hub, Settings};
use crate::registers::predict_image;
use crate::signals::Signals;
use crate::work::{copy_of, fresh_directory};

/// Hubs' certificates are valid from a day before they were ordered on.
const ALMOST_A_DAY: Duration = Duration::from_secs(23 * 60 * 60);
/// What outlasts a boot, in the scene's directory.
const STATE: &str = "state";
/// Which of all test processors the nodes have: its roots are the same each time.
const SEED: u64 = 0xfa;
/// A hub's name that is not the image's, certified by its authority all the same.
const OTHER_NAME: &str = "another.sim.test";

/// What all scenes share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) image: PathBuf,
    pub(crate) prediction: Prediction,
    pub(crate) accelerator: Accelerator,
    pub(crate) memory: u32,
    pub(crate) cpus: u32,
    pub(crate) builderhub: PathBuf,
    /// How long each wait may take.
    pub(crate) patience: Duration,
    pub(crate) directory: PathBuf,
    pub(crate) signals: Signals,
}

impl Context {
    /// Predicts the image and finds out what can run it. Each wait may take so many seconds.
    pub(crate) fn new(
        common: &Common,
        builderhub: PathBuf,
        patience: u64,
        directory: &Path,
        signals: Signals,
    ) -> Result<Self> {
        let image = copy_of(&common.image, directory)?;
        Ok(Self {
            prediction: predict_image(&image)?,
            image,
            accelerator: Accelerator::detect(),
            memory: common.memory,
            cpus: common.cpus,
            builderhub,
            patience: Duration::from_secs(patience),
            directory: directory.to_owned(),
            signals,
        })
    }
}

/// One scene's. The node ends before the hubs.
pub(crate) struct World<'a> {
    context: &'a Context,
    directory: PathBuf,
    tee: Tee,
    node: Option<Node>,
    attached: Option<Attached>,
    real: Option<Hub>,
    /// The hub of most scenes.
    pub(crate) hub: ScriptedHub,
    /// One that has the hub's name and no certificate that the image believes.
    pub(crate) stranger: ScriptedHub,
    /// One that has a certificate for another name.
    other: ScriptedHub,
    pub(crate) sample: Sample,
    changes: u32,
}

impl<'a> World<'a> {
    /// The name by which a real hub knows the node.
    pub(crate) const BUILDER: &'static str = "node";
    /// The name by which it knows what the image measures.
    pub(crate) const MEASUREMENT: &'static str = "the-image";

    /// Hubs without a node. With `has_real`, the node's hub is a real one that verifies it.
    pub(crate) fn new(context: &'a Context, scene: &str, has_real: bool) -> Result<Self> {
        let directory = fresh_directory(&context.directory, scene)?;
        let now = SystemTime::now();
        let tee = Tee::new(SEED, now);
        // Not valid when the image was built: a clock that shows that time is behind.
        let now = now + ALMOST_A_DAY;
        let sample = Sample::new(Self::BUILDER, token(scene))?;
        let start = |credentials: Result<_, _>| {
            let credentials = credentials.context("certify a hub")?;
            ScriptedHub::start(&credentials, sample.configuration.clone())
        };
        let mut world = Self {
            hub: start(certify(NAME, now))?,
            stranger: start(certify_by_a_stranger(NAME, now))?,
            other: start(certify(OTHER_NAME, now))?,
            context,
            directory,
            tee,
            node: None,
            attached: None,
            real: None,
            sample,
            changes: 0,
        };
        if has_real {
            let hub = world.real_hub()?;
            world.let_in(&hub)?;
            world.real = Some(hub);
        }
        Ok(world)
    }

    /// Switches a machine on, with what an earlier one of this scene has left; that one ends before.
    /// `change` makes it different from one with nothing wrong.
    pub(crate) fn power_on(&mut self, change: impl FnOnce(&mut AzureHost)) -> Result<&Node> {
        self.node = None;
        let mut host = AzureHost::new(self.context.image.clone(), self.tee.clone());
        host.name = Self::BUILDER.to_owned();
        host.goal_state = GoalState::of_machine(Self::BUILDER);
        host.memory = self.context.memory;
        host.cpus = self.context.cpus;
        host.accelerator = self.context.accelerator;
        change(&mut host);
        let plan = Plan {
            host,
            run: self.directory.clone(),
            state: self.directory.join(STATE),
            hub: self.hub_address()?,
            other: self.other.address(),
        };
        let node = Node::start(plan, self.context.patience, &self.context.signals)?;
        Ok(self.node.insert(node))
    }

    /// The machine that is switched on.
    pub(crate) fn node(&self) -> Result<&Node> {
        self.node.as_ref().context("no machine is switched on")
    }

    /// Whether the test is to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.context.signals.stop()
    }

    /// Cuts its power.
    pub(crate) fn power_off(&mut self) {
        self.node = None;
    }

    /// Where connections to the hub should lead.
    pub(crate) fn hub_address(&self) -> Result<SocketAddrV4> {
        match &self.real {
            Some(hub) => hub.address("attested"),
            None => Ok(self.hub.address()),
        }
    }

    /// Begins anew: another machine, of which nothing was kept.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.node = None;
        fresh_directory(&self.directory, STATE).map(drop)
    }

    /// Where what outlasts a boot is.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    /// The image of the node's data disk.
    pub(crate) fn data_disk(&self) -> PathBuf {
        self.state().join("data.raw")
    }

    /// Attaches another disk in its place, where no disk may be.
    pub(crate) fn attach(&mut self, medium: Medium) -> Result<()> {
        let image = self.directory.join("medium.raw");
        let machine = &self.node()?.host.machine;
        let attached = Attached::attach(medium, machine, &self.data_disk(), image)?;
        self.attached = Some(attached);
        Ok(())
    }

    /// Takes it away; an error if anything on it was changed.
    pub(crate) fn detach(&mut self) -> Result<()> {
        let attached = self.attached.take().context("no disk is attached")?;
        attached.detach(&self.node()?.host.machine)
    }

    /// The scene's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Has the node's hub hand out another value from now on; returns the member that it is in.
    pub(crate) fn change_a_value(&mut self) -> Result<&'static str> {
        self.changes = self.changes.saturating_add(1);
        let interval = json!(format!("{}s", u64::from(self.changes) + 15));
        let change = move |configuration: &mut Value| {
            let value = configuration.pointer_mut("/prometheus/scrape_interval");
            value.map(|value| *value = interval)
        };
        if self.real.is_none() {
            self.hub.change(change).context("find the value")?;
            return Ok("prometheus");
        }
        let file = self.directory.join("builder/configuration.json");
        let text = std::fs::read_to_string(&file).context("read the node's configuration")?;
        let mut configuration = serde_json::from_str(&text)?;
        change(&mut configuration).context("find the value")?;
        let text = serde_json::to_string_pretty(&configuration)?;
        std::fs::write(&file, text).context("write the node's configuration")?;
        let file = file.display().to_string();
        self.admin(&["builder", "config", "set", Self::BUILDER, &file])?;
        Ok("prometheus")
    }

    /// Runs a command of the real hub's admin.
    pub(crate) fn admin(&self, command: &[&str]) -> Result<()> {
        let hub = self.real.as_ref().context("this scene has no real hub")?;
        hub.admin().run(command).map(drop)
    }

    /// Ends the real hub's process, with all its connections.
    pub(crate) fn end_real_hub(&mut self) -> Result<()> {
        let mut hub = self.real.take().context("this scene has no real hub")?;
        hub.stop();
        Ok(())
    }

    /// Starts it again with what it had, elsewhere; the way leads there.
    pub(crate) fn start_real_hub(&mut self) -> Result<()> {
        self.real = Some(self.real_hub()?);
        let course = Course::To(self.hub_address()?);
        self.node()?.lead(course);
        Ok(())
    }

    fn real_hub(&self) -> Result<Hub> {
        let directory = self.directory.join("hub");
        std::fs::create_dir_all(&directory).context("make the hub's directory")?;
        let roots = Roots::write(&self.tee, &directory).context("write the roots")?;
        Hub::start(&Settings {
            program: &self.context.builderhub,
            state: &directory,
            run: &directory,
            name: NAME,
            roots: &roots,
            has_usual_ports: false,
        })
    }

    /// Tells the real hub about image and node.
    fn let_in(&self, hub: &Hub) -> Result<()> {
        let file = self.directory.join("measurement.json");
        let kind = AttestationType::AzureTdx;
        let values =
            ReferenceValues::from_prediction(Self::MEASUREMENT, kind, &self.context.prediction);
        std::fs::write(&file, values.to_json()).context("write the measurement")?;
        let file = file.display().to_string();
        hub.admin()
            .run(&["measurement", "add", &file, "--activate"])?;
        let builder = Builder {
            name: Self::BUILDER.to_owned(),
            address: Ipv4Addr::LOCALHOST,
            dns_name: format!("{}.sim.test", Self::BUILDER),
        };
        builder.register(hub.admin(), &self.directory.join("builder"))
    }
}

/// Different for each scene, and the same each time.
fn token(scene: &str) -> u64 {
    scene.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_have_secrets_of_their_own() {
        assert_ne!(token("first"), token("answers"));
        assert_eq!(token("first"), token("first"));
    }
}
