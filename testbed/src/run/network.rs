//! The hub and its nodes, from their start to their end.
//!
//! I/O: starts hub and hosts; prints; files in the run and the state directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use measurements::Prediction;
use testkit::azure::host::Roots;
use testkit::azure::hub::NAME;
use testkit::machine::Accelerator;
use testkit::tee::Tee;

use super::facts::{Facts, Known};
use super::node::{self, Node, Surroundings};
use super::{Options, registration};
use crate::hub::{Hub, Settings};
use crate::signals::Signals;
use crate::story::Teller;

/// Which of all test processors the nodes have: its roots are the same each time.
const SEED: u64 = 0xb1;

/// How often signals, consoles and services are looked at.
const POLL: Duration = Duration::from_millis(200);
/// How often the hub is asked about the nodes.
const HUB_POLL: Duration = Duration::from_secs(2);
/// How long a node that has fetched its configuration may take to register.
const REGISTRATION: Duration = Duration::from_secs(120);

/// Everything that runs. Nodes are dropped, and so ended, before the hub.
pub(super) struct Network {
    nodes: Vec<Node>,
    hub: Hub,
    roots: Roots,
    measurement_id: String,
    accelerator: Accelerator,
    run: PathBuf,
    state: PathBuf,
    teller: Teller,
}

impl Network {
    pub(super) fn start(
        options: &Options,
        teller: &Teller,
        prediction: &Prediction,
        run: &Path,
        state: &Path,
    ) -> Result<Self> {
        let image = &options.common.image;
        let accelerator = Accelerator::detect();
        teller.say(&format!(
            "{}\n{} of it, each with {} processors ({}) and {} MiB; no network but loopback",
            image.display(),
            count(options.nodes),
            options.common.cpus,
            accelerator.name(),
            options.common.memory
        ));
        let tee = Tee::new(SEED, SystemTime::now());
        let roots = run.join("roots");
        fs::create_dir_all(&roots).context("make the directory of roots")?;
        let roots = Roots::write(&tee, &roots).context("write the roots")?;
        let hub = Hub::start(&Settings {
            program: &options.builderhub,
            state: &state.join("hub"),
            run: &run.join("hub"),
            name: NAME,
            roots: &roots,
            has_usual_ports: true,
        })?;
        teller.say(&format!("the hub runs, as {NAME}"));
        let measurement_id =
            registration::let_in(hub.admin(), &options.cvmctl, image, prediction, run)?;
        teller.say(&format!(
            "the hub lets in what measures as {measurement_id}"
        ));
        let surroundings = Surroundings {
            options,
            hub: &hub,
            accelerator,
            run,
            state,
            teller,
        };
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let builder = node::builder(number);
            let (name, address) = (&builder.name, builder.address);
            builder.register(hub.admin(), &run.join(name))?;
            teller.say(&format!("the hub knows {name} at {address}"));
            let tee = tee.clone().neighbour(number.into());
            nodes.push(Node::start(builder, tee, surroundings)?);
        }
        Ok(Self {
            nodes,
            hub,
            roots,
            measurement_id,
            accelerator,
            run: run.to_owned(),
            state: state.to_owned(),
            teller: teller.clone(),
        })
    }

    /// Waits for the nodes, and finds out what they are.
    pub(super) fn follow(
        &mut self,
        options: &Options,
        signals: &Signals,
        prediction: &Prediction,
    ) -> Result<Facts> {
        self.wait_for_answers(options, signals)?;
        self.wait_for_the_hubs_view(options, signals)?;
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let contact = node.contact(self.hub.admin())?;
            nodes.push(node.facts(options, prediction, &self.roots, contact)?);
        }
        let known = Known {
            image: &options.common.image,
            measurement_id: &self.measurement_id,
            accelerator: self.accelerator.name(),
            hub: &self.hub,
            run: &self.run,
            state: &self.state,
            prefix: &options.prefix,
            cvmctl: &options.cvmctl,
            builderhub: &options.builderhub,
        };
        Facts::new(&known, &self.roots, nodes)
    }

    /// Says how far the boots are until all nodes serve their certificates.
    fn wait_for_answers(&mut self, options: &Options, signals: &Signals) -> Result<()> {
        let end = Instant::now() + options.patience();
        loop {
            let mut waiting = Vec::new();
            for node in &mut self.nodes {
                if !node.has_answered()? {
                    waiting.push(node);
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                let node = waiting.first().context("find the node")?;
                bail!(
                    "{} does not answer after {} s; its console's end:\n{}",
                    node.name(),
                    options.patience().as_secs(),
                    node.tail()
                );
            }
            self.pause(signals)?;
        }
    }

    /// Waits until the hub has heard of all nodes and they have registered, as long as that may take.
    fn wait_for_the_hubs_view(&mut self, options: &Options, signals: &Signals) -> Result<()> {
        let end = Instant::now() + options.patience();
        let mut registration = None;
        loop {
            let mut has_contact = true;
            let mut is_registered = true;
            for node in &self.nodes {
                let contact = node.contact(self.hub.admin())?;
                has_contact &= contact.at.is_some();
                is_registered &= !contact.registered.is_empty();
            }
            if has_contact && is_registered {
                return Ok(());
            }
            if has_contact && registration.is_none() {
                registration = Some(Instant::now() + REGISTRATION);
            }
            if Instant::now() >= registration.unwrap_or(end) {
                return Ok(());
            }
            let next = Instant::now() + HUB_POLL;
            while Instant::now() < next {
                for node in &mut self.nodes {
                    node.tell();
                }
                self.pause(signals)?;
            }
        }
    }

    fn pause(&mut self, signals: &Signals) -> Result<()> {
        thread::sleep(POLL);
        self.hub.ensure_running()?;
        for node in &self.nodes {
            node.ensure_running()?;
        }
        if signals.stop() {
            bail!("interrupted before it was known what the nodes are");
        }
        Ok(())
    }

    /// Says what happens until the user has had enough, or something has ended.
    pub(super) fn stay(&mut self, signals: &Signals) {
        while !signals.stop() {
            for node in &mut self.nodes {
                node.tell();
            }
            if let Err(error) = self.pause(signals) {
                if !signals.stop() {
                    self.teller.say(&format!("{error:#}"));
                }
                return;
            }
        }
    }

    /// Shuts the nodes down, then the hub, of which they might still want something; whether all nodes did so in
    /// order.
    pub(super) fn end(&mut self, teller: &Teller) -> bool {
        teller.say("shutting down");
        let is_in_order = thread::scope(|scope| {
            let nodes = self.nodes.iter();
            let ends: Vec<_> = nodes.map(|node| scope.spawn(|| node.end())).collect();
            // All of them, also after one that is not.
            let ends: Vec<_> = ends.into_iter().map(|end| end.join()).collect();
            ends.iter().all(|end| matches!(end, Ok(true)))
        });
        if !self.hub.stop() {
            teller.say("the hub does not stop by itself: killed");
        }
        is_in_order
    }
}

fn count(nodes: u8) -> String {
    match nodes {
        1 => "one node".to_owned(),
        _ => format!("{nodes} nodes"),
    }
}
