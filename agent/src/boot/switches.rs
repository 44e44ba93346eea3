//! Units that the configuration turns on and off.
//!
//! What is off is stopped as soon as the configuration is rendered, what is on is started when the
//! node is ready: services need a whole node.
//!
//! I/O: has units start and stop.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;

use super::Machine;
use super::configuration::Configuration;
use super::render::Rendered;
use super::retry::Pauses;
use crate::config::templates::Switch;

/// How often it is looked whether a pause is over.
const LOOK: Duration = Duration::from_millis(500);

/// Stops what is off. What cannot be stopped now is tried again by [`keep`].
pub(super) async fn stop(machine: &Machine, configuration: &Configuration, _: &Rendered) {
    for (name, switch) in &machine.config.boot.switches {
        if !configuration.is_on(switch)
            && let Err(error) = machine.units.stop(&switch.unit).await
        {
            tracing::warn!("switches: {name} is off, but {error:#}");
        }
    }
}

/// Stops what is off and starts what is on, each until it succeeds; then there is nothing left to do
/// for this configuration. One that fails keeps no other from its own.
pub(super) async fn keep(
    machine: &Machine,
    configuration: &Configuration,
    _: &Rendered,
) -> Infallible {
    let switches = &machine.config.boot.switches;
    let mut left: Vec<_> = switches
        .iter()
        .map(|it| (it, configuration.is_on(it.1)))
        .collect();
    // What is off may stand in the way of what is on.
    left.sort_by_key(|(_, is_on)| *is_on);
    let mut pauses = Pauses::default();
    while !left.is_empty() {
        let mut failed = Vec::new();
        for ((name, switch), is_on) in left {
            if !pauses.is_over(name) {
                failed.push(((name, switch), is_on));
            } else if let Err(error) = turn(machine, switch, is_on).await {
                let pause = pauses.failed(name).as_secs_f32();
                let word = word(is_on);
                tracing::warn!(
                    "switches: {name} is {word}, but {error:#}; tried again in {pause:.0} s"
                );
                failed.push(((name, switch), is_on));
            } else {
                tracing::info!("switches: {name} is {}: {}", word(is_on), switch.unit);
            }
        }
        left = failed;
        sleep(LOOK).await;
    }
    pending().await
}

async fn turn(machine: &Machine, switch: &Switch, is_on: bool) -> anyhow::Result<()> {
    match is_on {
        true => machine.units.start(&switch.unit).await,
        false => machine.units.stop(&switch.unit).await,
    }
}

fn word(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
