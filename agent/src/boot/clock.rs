//! The clock as a stage of the boot: plausible before anything is verified by it, synchronised before
//! the node is ready.
//!
//! I/O: as `crate::clock` has it.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Machine;
use super::retry::until_done;
use crate::clock::{Clock, Event, Reading, Settings};

/// How often it is said how the clock does, if nothing happens to it.
const MEASURED: Duration = Duration::from_secs(3600);

/// How often it is looked while it is waited for; each time is a process.
const POLL: Duration = Duration::from_secs(5);

type MachineClock = Clock<fn() -> Reading>;

/// The clock shows what can be: certificates may be looked at. From then on it is watched.
pub(super) struct Time(watch::Receiver<Seen>);

/// What was seen of the clock.
#[derive(Default)]
struct Seen {
    is_synchronised: bool,
    /// What was said last.
    said: String,
}

/// Waits until the clock shows a time after the image was built.
pub(super) async fn plausible(machine: &Machine) -> Time {
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
        .wait_until_plausible(|event| match &event {
            Event::Implausible(_) => {
                tracing::warn!("{event}");
                stage.status(&event.to_string());
            }
            _ => say(&event),
        })
        .await;
    stage.done("it shows a time after the image was built");
    let (seen, time) = watch::channel(Seen::default());
    tokio::spawn(keep_looking(clock, seen));
    Time(time)
}

/// Says what becomes of the clock, for ever: also while something else is waited for, of which a wrong
/// clock may be the reason.
async fn keep_looking(mut clock: MachineClock, seen: watch::Sender<Seen>) {
    let mut measured = None::<Instant>;
    let mut on_event = |event: Event<'_>| {
        if matches!(event, Event::Measured(_)) {
            if measured.is_some_and(|at| at.elapsed() < MEASURED) {
                return;
            }
            measured = Some(Instant::now());
        }
        say(&event);
        seen.send_modify(|seen| seen.said = event.to_string());
    };
    clock.wait_until_synchronised(&mut on_event).await;
    seen.send_modify(|seen| seen.is_synchronised = true);
    clock.watch(&mut on_event).await;
}

/// Waits until somebody who proves who it is has set the clock, or as the image says.
pub(super) async fn synchronise(machine: &Machine, Time(time): &Time) {
    let stage = machine.begin("time");
    let mut time = time.clone();
    loop {
        let seen = time.borrow_and_update();
        if seen.is_synchronised {
            break;
        }
        stage.status(&seen.said);
        drop(seen);
        if time.changed().await.is_err() {
            // Who watches never ends.
            pending::<()>().await;
        }
    }
    stage.done("the clock is as right as the image wants it");
}

fn say(event: &Event<'_>) {
    match event {
        Event::State { .. } | Event::Stepped(_) | Event::NotWaitedFor | Event::Implausible(_) => {
            tracing::warn!("{event}")
        }
        _ => tracing::info!("{event}"),
    }
}
