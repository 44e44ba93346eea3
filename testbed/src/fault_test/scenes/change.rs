//! What is no fault: a machine that stands still, another configuration, another name; and then it is
//! looked for what must not be seen.
//!
//! I/O: starts a hub and a node; reads the scene's files and the guest's memory.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{go_on, meet_pause, ready, since};
use crate::checks::Checks;
use crate::fault_test::secrets;
use crate::scripted::node::{Node, said};
use crate::scripted::world::{Context, World};

/// That the certificate of another identity was registered.
const REGISTERED: &str = "registration: the hub has the other certificate";

pub(super) fn play(context: &Context, checks: &mut Checks) -> Result<()> {
    let mut world = World::new(context, "change", false)?;
    ready(&mut world, checks, "change")?;
    meet_pause(&mut world, checks)?;
    checks.note("change-a-value", change_a_value(&mut world));
    checks.note("change-the-name", change_the_name(&world));
    secrets::look(&world, checks)
}

/// Another value is taken up, and the certificate stays.
fn change_a_value(world: &mut World<'_>) -> Result<Option<String>> {
    let node = world.node()?;
    let before = node.certificate()?;
    let changed_at = node.host.machine.started().elapsed();
    let line = go_on(world)?;
    let node = world.node()?;
    ensure!(
        node.certificate()? == before,
        "it serves another certificate"
    );
    let words = said(&line.text);
    Ok(Some(format!(
        "{words}; {:.1} s after the change",
        since(changed_at, line.at)
    )))
}

/// Another name makes another certificate, which is registered, and then served.
fn change_the_name(world: &World<'_>) -> Result<Option<String>> {
    let node = world.node()?;
    let before = node.certificate()?;
    let registered = world.hub.registered().len();
    ensure!(
        is_registered(world, &before),
        "the first certificate is not the registered one"
    );
    let mark = node.mark();
    world.hub.change(|configuration| {
        if let Some(name) = configuration.get_mut("dns_name") {
            *name = json!("renamed.sim.test");
        }
    });
    node.says(mark, &["refresh: changed: dns_name"])?;
    let line = node.says(mark, &[REGISTERED])?;
    let mut after = before.clone();
    node.until("it serves another certificate", || {
        node.certificate().is_ok_and(|served| {
            after = served;
            after != before
        })
    })?;
    ensure!(
        is_registered(world, &after),
        "what it serves is not what it has registered"
    );
    let more = world.hub.registered().len().saturating_sub(registered);
    ensure!(more == 1, "it has registered {more} times");
    ensure!(is_ready_once(node), "it has become ready again");
    Ok(Some(said(&line.text).to_owned()))
}

fn is_registered(world: &World<'_>, certificate: &str) -> bool {
    let latest = world.hub.registered().pop();
    latest.is_some_and(|latest| latest.trim() == certificate.trim())
}

/// A node that was ready does not become it again.
fn is_ready_once(node: &Node) -> bool {
    let lines = node.host.machine.console().lines();
    let begun = lines
        .iter()
        .filter(|line| line.text.contains("ready: begun"));
    begun.count() == 1
}
