//! The data disk that is not there, not the node's, or not as it was left; and what of its data is found again.
//!
//! All of it is attached to machines that run: two boots are enough. The first one is a new node's, which in the
//! end is given a blank disk. The second one is given copies of that, changed; in the end the disk itself, of
//! which a half of the header is lost.
//!
//! I/O: starts a hub and a node; attaches disks.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{ready_now, refuses_to_be_ready};
use crate::checks::Checks;
use crate::data_disk::{self, Disk};
use crate::fault_test::fault::Fault;
use crate::fault_test::table::{Group, Row};
use crate::scripted::disk::{Medium, absent, plug};
use crate::scripted::node::{CONFIGURED, said};
use crate::scripted::world::{Context, World};
use crate::shutdown;

/// How long the guest may take to shut down in order.
const SHUTDOWN: Duration = Duration::from_secs(120);

pub(super) fn play(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut world = World::new(context, "disk", false)?;
    power_on(&mut world, checks)?;
    meet_all(&mut world, checks, false)?;
    attach_own(&world)?;
    ready_now(&world, checks, "new-disk")?;
    let (first, _) = world
        .node()?
        .fingerprint()
        .context("find the certificate")?;
    shut_down(&mut world, checks, "new-disk-closed");
    let new = Disk::read(&world.data_disk())?;
    ensure!(matches!(new, Disk::Ready(_)), "its disk is {new:?}");

    power_on(&mut world, checks)?;
    meet_all(&mut world, checks, true)?;
    data_disk::empty_the_first_slot(&world.data_disk())?;
    attach_own(&world)?;
    let node = world.node()?;
    let repaired = node.says(node.power_on(), &["slot A of the header was repaired"]);
    checks.note(
        "half-a-header",
        repaired.map(|line| Some(said(&line.text).to_owned())),
    );
    ready_now(&world, checks, "own-disk")?;
    let second = world.node()?.fingerprint();
    let is_same = second.is_some_and(|(second, _)| second == first);
    let kept = is_same
        .then_some(())
        .context("what it has kept there is not there");
    checks.check("data-are-there", kept);
    shut_down(&mut world, checks, "own-disk-closed");
    let after = Disk::read(&world.data_disk())?;
    let same = (after == new).then_some(());
    checks.check(
        "same-disk",
        same.with_context(|| format!("{new:?} is now {after:?}")),
    );
    Ok(())
}

/// A machine without its disk, until it has its configuration.
fn power_on(world: &mut World<'_>, checks: &mut Checks) -> Result<()> {
    let node = world.power_on(|host| host.disk = absent())?;
    checks.follow(node.host.machine.console());
    node.says(node.power_on(), &[CONFIGURED])?;
    Ok(())
}

/// Attaches what each row has, one after the other.
fn meet_all(world: &mut World<'_>, checks: &mut Checks, is_of_own: bool) -> Result<()> {
    let rows = Group::Disk.rows();
    for row in rows.filter(|row| needs_own(row.fault) == is_of_own) {
        ensure!(!world.is_interrupted(), "interrupted");
        let met = meet(world, row);
        checks.note(row.name, met);
    }
    Ok(())
}

fn needs_own(fault: Fault) -> bool {
    match fault {
        Fault::Disk(medium) => medium.is_of_own(),
        _ => true,
    }
}

/// Attaches it, waits for the node's word, and takes it away again: not a bit may be changed by then.
fn meet(world: &mut World<'_>, row: &Row) -> Result<Option<String>> {
    let node = world.node()?;
    let mark = match row.fault {
        // It is said once a minute, and was said when the machine came up.
        Fault::Disk(Medium::Nothing) => node.power_on(),
        // What was said of the one before comes again, if this one is not there for long.
        _ => node.mark(),
    };
    row.fault.apply(world)?;
    let line = world.node()?.says(mark, &[&["disk: "], row.says].concat());
    // Also if it was not said: the next one comes alone.
    row.fault.mend(world)?;
    let line = line?;
    refuses_to_be_ready(world.node()?)?;
    Ok(Some(said(&line.text).to_owned()))
}

fn attach_own(world: &World<'_>) -> Result<()> {
    plug(&world.node()?.host.machine, &world.data_disk(), false)
}

/// Presses the power button.
fn shut_down(world: &mut World<'_>, checks: &mut Checks, name: &str) {
    let ended = world
        .node()
        .and_then(|node| shutdown::in_order(&node.host.machine, SHUTDOWN));
    checks.check(name, ended);
    world.power_off();
}
