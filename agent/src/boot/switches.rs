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

/// Switches that are not as the configuration wants them yet.
pub(super) struct Left<'a>(Vec<(&'a str, &'a Switch, bool)>);

/// Stops what is off. What is on, and what cannot be stopped now, is left to [`keep`].
pub(super) async fn stop<'a>(
    machine: &'a Machine,
    configuration: &Configuration,
    _: &Rendered,
) -> Left<'a> {
    let mut left = Vec::new();
    for (name, switch) in &machine.config.boot.switches {
        let is_on = configuration.is_on(switch);
        let is_done = !is_on
            && match turn(machine, name, switch, is_on).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!("switches: {name} is off, but {error:#}");
                    false
                }
            };
        if !is_done {
            left.push((name.as_str(), switch, is_on));
        }
    }
    // What is off may stand in the way of what is on.
    left.sort_by_key(|(_, _, is_on)| *is_on);
    Left(left)
}

/// Turns the others, each until it succeeds; then nothing is left to do for this configuration. One
/// that fails keeps no other from its own.
pub(super) async fn keep(machine: &Machine, left: Left<'_>) -> Infallible {
    let mut pauses = Pauses::default();
    let Left(mut left) = left;
    while !left.is_empty() {
        let mut failed = Vec::new();
        for (name, switch, is_on) in left {
            if !pauses.is_over(name) {
                failed.push((name, switch, is_on));
            } else if let Err(error) = turn(machine, name, switch, is_on).await {
                let (pause, word) = (pauses.failed(name).as_secs_f32(), word(is_on));
                tracing::warn!(
                    "switches: {name} is {word}, but {error:#}; tried again in {pause:.0} s"
                );
                failed.push((name, switch, is_on));
            }
        }
        left = failed;
        sleep(LOOK).await;
    }
    pending().await
}

async fn turn(machine: &Machine, name: &str, switch: &Switch, is_on: bool) -> anyhow::Result<()> {
    let Switch { unit, .. } = switch;
    match is_on {
        true => machine.units.start(unit).await?,
        false => machine.units.stop(unit).await?,
    }
    tracing::info!("switches: {name} is {}: {unit}", word(is_on));
    Ok(())
}

fn word(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
