//! The scenes: boots of a node, with the faults that it meets one after the other.
//!
//! A boot under emulation takes most of a minute, so several faults share one. Where each is mended
//! before the next comes (`answers`, `ways`, `evidence`), the node has to go on after each alone; where
//! one follows the other at once (`first`, `wireserver`), it has to say each and to go on after the last.
//!
//! I/O: starts hubs and nodes.

mod change;
mod disk;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::azure::wireserver::Health;
use testkit::console::Line;
use testkit::console::phases::phases;
use testkit::console::stages::stages;

use super::fault::Fault;
use super::table::{Group, Row, rows};
use crate::checks::Checks;
use crate::scripted::node::{CHANGED, CONFIGURED, Mark, Node, READY, said};
use crate::scripted::world::{Context, World};

/// What must not happen is looked for so long: as a node takes from its configuration until it is ready, and some.
const STAYS: Duration = Duration::from_secs(30);

/// One scene.
pub(super) struct Scene {
    /// Its name, for `--only`.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) what: &'static str,
    /// Plays it; an error means that it could not be played.
    pub(super) play: fn(&Context, &mut Checks) -> Result<()>,
}

/// All scenes, those that take longest first.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        name: "answers",
        what: "a ready node, and whatever the hub may answer",
        play: |context, checks| refreshed(context, checks, "answers", Group::Answers, false),
    },
    Scene {
        name: "evidence",
        what: "a ready node, a real hub, and what convinces it",
        play: |context, checks| refreshed(context, checks, "evidence", Group::Evidence, true),
    },
    Scene {
        name: "ways",
        what: "a ready node, and whoever is on the way to the hub",
        play: |context, checks| refreshed(context, checks, "ways", Group::Ways, false),
    },
    Scene {
        name: "disk",
        what: "whatever may be attached in the place of the data disk, and the disk itself",
        play: disk::play,
    },
    Scene {
        name: "wireserver",
        what: "a node whose wireserver fails is ready all the same, and reports in the end",
        play: wireserver,
    },
    Scene {
        name: "first",
        what: "a new node whose hub fails waits, and is ready in the end",
        play: first,
    },
    Scene {
        name: "power-on",
        what: "a machine that cannot become a node says why, and does once it is mended",
        play: power_on,
    },
    Scene {
        name: "change",
        what: "a ready node is paused and configured anew; its secrets are nowhere to be seen",
        play: change::play,
    },
];

/// A node becomes ready, meets each fault of the group when it refreshes its configuration, and goes on
/// when it is mended.
fn refreshed(
    context: &Context,
    checks: &mut Checks,
    scene: &str,
    group: Group,
    has_real: bool,
) -> Result<()> {
    let mut world = World::new(context, scene, has_real)?;
    ready(&mut world, checks, scene)?;
    let certificate = world.node()?.certificate()?;
    for row in group.rows() {
        ensure!(!context.signals.stop(), "interrupted");
        let met = meet(&mut world, row);
        checks.note(row.name, met);
    }
    let node = world.node()?;
    let unchanged = node.certificate().and_then(|served| {
        ensure!(
            served == certificate,
            "it serves another certificate than before"
        );
        Ok(())
    });
    checks.check("serves-the-same", unchanged);
    checks.check("reports-ready", reports_ready(node));
    Ok(())
}

/// Makes it wrong, waits for the node's word, mends it, and waits until the node has got over it.
fn meet(world: &mut World<'_>, row: &Row) -> Result<Option<String>> {
    let mark = world.node()?.mark();
    row.fault.apply(world)?;
    let words = [&["refresh: the last configuration stays"], row.says].concat();
    let line = world.node()?.says(mark, &words);
    // Also if it was not said: the next fault comes alone.
    row.fault.mend(world)?;
    let gone_on = go_on(world).context("it does not go on");
    let line = line?;
    gone_on?;
    Ok(Some(said(&line.text).to_owned()))
}

/// The node takes up what is changed now.
fn go_on(world: &mut World<'_>) -> Result<Line> {
    let mark = world.node()?.mark();
    let member = world.change_a_value()?;
    world.node()?.says(mark, &[CHANGED, member])
}

/// A new node meets faults of its hub one after the other, then those of its registration.
fn first(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut world = World::new(context, "first", false)?;
    let faults: Vec<_> = rows().filter(|row| row.is_first).collect();
    let registration: Vec<_> = Group::Registration.rows().collect();
    world.power_on(|_| {})?;
    checks.follow(world.node()?.host.machine.console());
    // What it meets first is wrong before the guest's first word.
    if let Some(row) = registration.first() {
        row.fault.apply(&mut world)?;
    }
    let mark = world.node()?.power_on();
    follow_one_another(&mut world, checks, &faults, mark, "configuration: ")?;
    let node = world.node()?;
    checks.check("configured", node.says(mark, &[CONFIGURED]).map(drop));
    follow_one_another(&mut world, checks, &registration, mark, "registration: ")?;
    ready_now(&world, checks, "first")
}

/// Each is said, then the next comes; the last one is mended.
fn follow_one_another(
    world: &mut World<'_>,
    checks: &mut Checks,
    rows: &[&'static Row],
    mut mark: Mark,
    stage: &str,
) -> Result<()> {
    let mut before: Option<Fault> = None;
    for row in rows {
        if before.is_some() {
            mark = world.node()?.mark();
        }
        row.fault.apply(world)?;
        // There is no moment at which nothing is wrong.
        if let Some(before) = before.replace(row.fault)
            && !row.fault.replaces(before)
        {
            before.mend(world)?;
        }
        let words = [&[stage], row.says].concat();
        let line = world.node()?.says(mark, &words);
        checks.note(row.name, line.map(|line| Some(said(&line.text).to_owned())));
    }
    match before {
        Some(last) => last.mend(world),
        None => Ok(()),
    }
}

/// The wireserver fails from power-on: ready all the same, and reported in the end.
fn wireserver(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut world = World::new(context, "wireserver", false)?;
    world.power_on(|_| {})?;
    let rows: Vec<_> = Group::Wireserver.rows().collect();
    rows.first()
        .context("find the first fault")?
        .fault
        .apply(&mut world)?;
    ready_now(&world, checks, "wireserver")?;
    let node = world.node()?;
    let mark = node.power_on();
    let health = node.host.wireserver.health();
    let is_untold = match health {
        None => Ok(()),
        Some(health) => Err(anyhow::anyhow!("it has reported: {health:?}")),
    };
    checks.check("ready-without-wireserver", is_untold);
    follow_one_another(&mut world, checks, &rows, mark, "check-in: attempt")?;
    let node = world.node()?;
    let told = node.says(mark, &["check-in: Azure knows that this machine is up"]);
    checks.check("told", told.map(drop));
    checks.check("reports-ready", reports_ready(node));
    Ok(())
}

/// Machines that are switched on wrong, and then the same one that is not.
fn power_on(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut world = World::new(context, "power-on", false)?;
    for row in Group::PowerOn.rows() {
        ensure!(!context.signals.stop(), "interrupted");
        let node = world.power_on(|host| row.fault.describe(host))?;
        checks.follow(node.host.machine.console());
        let line = node.says(node.power_on(), row.says);
        let line = line.and_then(|line| {
            // It tries again all the time.
            node.for_a_while(STAYS, || refuses_to_be_ready(node))?;
            Ok(Some(said(&line.text).to_owned()))
        });
        checks.note(row.name, line);
        world.power_off();
    }
    ready(&mut world, checks, "mended")
}

/// Switches a machine on and waits until it is ready.
fn ready(world: &mut World<'_>, checks: &mut Checks, name: &str) -> Result<()> {
    world.power_on(|_| {})?;
    ready_now(world, checks, name)
}

/// Waits until the machine is ready; without that, nothing else can be tried.
fn ready_now(world: &World<'_>, checks: &mut Checks, name: &str) -> Result<()> {
    let node = world.node()?;
    let console = node.host.machine.console();
    checks.follow(console);
    let line = node.says(node.power_on(), &[READY])?;
    let lines = console.lines();
    checks.boot_of(name, &phases(&lines));
    checks.stages(&stages(&lines));
    let after = line.at.as_secs_f64();
    checks.note("ready", Ok(Some(format!("{after:.1} s after power-on"))));
    Ok(())
}

/// It is not ready.
fn refuses_to_be_ready(node: &Node) -> Result<()> {
    let is_ready = node.has_said(node.power_on(), &[READY]);
    ensure!(!is_ready, "it is ready all the same");
    Ok(())
}

/// Azure has been told that the machine is up.
fn reports_ready(node: &Node) -> Result<()> {
    let is_told = || node.host.wireserver.health() == Some(Health::Ready);
    node.until("Azure is told that the machine is up", is_told)
}

/// How long after the machine was switched on something happened.
fn since(begin: Duration, end: Duration) -> f64 {
    end.saturating_sub(begin).as_secs_f64()
}

/// The machine stands still for a while, and goes on as if nothing had been.
fn meet_pause(world: &mut World<'_>, checks: &mut Checks) -> Result<()> {
    for row in Group::Machine.rows() {
        let met = paused(world, row);
        checks.note(row.name, met);
    }
    Ok(())
}

fn paused(world: &mut World<'_>, row: &Row) -> Result<Option<String>> {
    let node = world.node()?;
    let before = node.certificate()?;
    row.fault.apply(world)?;
    let mark = world.node()?.mark();
    row.fault.mend(world)?;
    let line = go_on(world)?;
    let node = world.node()?;
    let begun = node.has_said(mark, &["clock: begun"]);
    ensure!(!begun, "the boot was started again");
    ensure!(
        node.certificate()? == before,
        "it serves another certificate"
    );
    Ok(Some(said(&line.text).to_owned()))
}
