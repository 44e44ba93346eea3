//! The clock as a stage of the boot: plausible before anything is verified by it, synchronised before
//! the node is ready.
//!
//! I/O: as `crate::clock` has it.

use std::time::Duration;

use super::Machine;
use super::progress::Stage;
use super::retry::until_done;
use crate::clock::{Clock, Event, Reading, Settings};

/// How often it is said how the clock does, if nothing happens to it.
const MEASURED: Duration = Duration::from_secs(3600);

/// How often it is looked while it is waited for; each time is a process.
const POLL: Duration = Duration::from_secs(5);

type MachineClock = Clock<fn() -> Reading>;

/// The clock shows what can be: certificates may be looked at.
pub(super) struct Plausible(MachineClock);

/// Waits until the clock shows a time after the image was built.
pub(super) async fn plausible(machine: &Machine) -> Plausible {
    let mut stage = machine.begin("clock");
    let settings = Settings {
        root: machine.root.clone(),
        poll: POLL,
        danger_unsynchronised: machine.config.boot.clock.danger_unsynchronised,
        ..Settings::default()
    };
    let open = async || MachineClock::open(settings.clone(), Reading::now);
    let mut clock = until_done(&mut stage, open).await;
    clock
        .wait_until_plausible(|event| say(Some(&stage), &event))
        .await;
    stage.done("it shows a time after the image was built");
    Plausible(clock)
}

/// Waits until somebody who proves who it is has set the clock, or as the image says.
pub(super) async fn synchronise(machine: &Machine, clock: &mut Plausible) {
    let stage = machine.begin("time");
    let Plausible(clock) = clock;
    clock
        .wait_until_synchronised(|event| say(Some(&stage), &event))
        .await;
    stage.done("the clock is as right as the image wants it");
}

impl Plausible {
    /// Says what becomes of the clock, for ever.
    pub(super) async fn watch(self) {
        let Self(mut clock) = self;
        let mut measured = None::<tokio::time::Instant>;
        clock
            .watch(|event| {
                if matches!(event, Event::Measured(_)) {
                    if measured.is_some_and(|at| at.elapsed() < MEASURED) {
                        return;
                    }
                    measured = Some(tokio::time::Instant::now());
                }
                say(None, &event);
            })
            .await;
    }
}

/// Measurements while something is waited for are said with the state they come to.
fn say(stage: Option<&Stage<'_>>, event: &Event<'_>) {
    match (stage, event) {
        (Some(_), Event::Measured(_)) => {}
        (Some(stage), Event::Implausible(_) | Event::State { .. }) => {
            tracing::warn!("{event}");
            stage.status(&event.to_string());
        }
        (_, Event::Stepped(_) | Event::NotWaitedFor | Event::Implausible(_)) => {
            tracing::warn!("{event}");
        }
        _ => tracing::info!("{event}"),
    }
}
