//! `testbed azure-sim`: boots an image on a simulated Azure TDX host, says what runs where, stays
//! until Ctrl-C.
//!
//! I/O: starts the host; prints.

mod fault;
mod options;
mod self_test;
mod summary;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testkit::azure::host::RunningHost;
use testkit::fetch::{fetch_insecure, local};

pub(crate) use options::Options;

use crate::registers::predict_image;
use crate::session::ATTESTATION_PORT;
use crate::signals::Signals;
use crate::story::{Story, Teller};
use crate::work::Work;
use summary::Summary;

/// How long the guest may take to shut down in order.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// How often signals, console and services are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Runs the image; returns whether its registers are as predicted, or all checks have passed.
///
/// # Errors
///
/// If the host could not be started, or was stopped before there was an answer.
pub(crate) fn run(options: &Options, signals: &Signals) -> Result<bool> {
    if options.is_help_wanted() {
        println!("{}", fault::help());
        return Ok(true);
    }
    let work = Work::new(options.common.run_dir.as_deref())?;
    let outcome = match options.self_test {
        true => self_test::run(options, signals, &work),
        false => run_in(options, signals, &work),
    };
    if !matches!(outcome, Ok(true)) {
        options.say(&format!("logs: {}", work.keep().display()));
    }
    outcome
}

fn run_in(options: &Options, signals: &Signals, work: &Work) -> Result<bool> {
    let prediction = predict_image(&options.common.image)?;
    let host = options
        .host()?
        .start(work.path(), &options.state(work.path()))?;
    let mut story = Story::new(Teller::new(options.json), false);
    if !follow_boot(options, signals, &host, &mut story)? {
        end(options, &host);
        bail!("interrupted before the node answered");
    }
    let summary = Summary::of(&host, options, work.path(), &prediction)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    if !options.once {
        options.say("Ctrl-C shuts it down.");
        while !signals.stop() && host.machine.ended().is_none() {
            story.tell(&host);
            thread::sleep(POLL);
        }
    }
    end(options, &host);
    Ok(summary.is_equal())
}

/// Says how far the boot is until the node answers; returns false if the user had enough before.
fn follow_boot(
    options: &Options,
    signals: &Signals,
    host: &RunningHost,
    story: &mut Story,
) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(options.timeout);
    let port = host.machine.forward_tcp(ATTESTATION_PORT)?;
    loop {
        story.tell(host);
        if signals.stop() {
            return Ok(false);
        }
        let console = host.machine.console();
        if let Some(status) = host.machine.ended() {
            bail!(
                "the machine ended ({status}); its last words:\n{}",
                console.tail(20)
            );
        }
        let limit = Duration::from_secs(5);
        if story.is_booted() && fetch_insecure(local(port), "/cert", limit).is_ok() {
            return Ok(true);
        }
        if Instant::now() >= end {
            bail!(
                "nothing answers on port {ATTESTATION_PORT} after {} s; the console's end:\n{}",
                options.timeout,
                console.tail(20)
            );
        }
        thread::sleep(POLL);
    }
}

fn end(options: &Options, host: &RunningHost) {
    options.say("shutting down");
    if !host.machine.power_down(SHUTDOWN_TIMEOUT) {
        options.say("it does not shut down by itself: killed");
    }
}

impl Options {
    /// Prints, out of the way of a JSON document.
    fn say(&self, text: &str) {
        Teller::new(self.json).say(text);
    }
}
