//! `testbed run`: a network on one machine: a hub, and nodes on simulated Azure hosts.
//!
//! The hub is told what an admin would tell it: what the image is predicted to measure, and for each
//! node its address, a sample configuration and secrets. Then the nodes are started, asked what a
//! relying party would ask, and a page says what runs where. All of it is on addresses of loopback:
//! the hub has 127.0.0.1, the nodes have those that follow.
//!
//! I/O: starts hub and hosts; prints; files in the run and the state directory.

mod facts;
pub(crate) mod memory;
mod network;
mod node;
mod options;
mod page;
mod registration;
mod services;

use std::path::Path;

use anyhow::Result;

pub(crate) use options::Options;

use crate::registers::predict_image;
use crate::signals::Signals;
use crate::story::Teller;
use crate::work::Work;
use network::Network;

/// Runs the network; returns whether all of its nodes are as they should be, and shut down in order.
///
/// # Errors
///
/// Also if it was interrupted before that was found out; afterwards that is how it ends.
pub(crate) fn run(options: &Options, signals: &Signals) -> Result<bool> {
    let count = usize::from(options.nodes);
    memory::ensure_enough(count, options.common.memory)?;
    let work = Work::new(options.common.run_dir.as_deref())?;
    let outcome = work
        .alone()
        .and_then(|_lock| run_in(options, signals, work.path(), &options.state(work.path())?));
    if !matches!(outcome, Ok(true)) {
        let logs = work.keep();
        Teller::new(options.json).say(&format!("logs: {}", logs.display()));
    }
    outcome
}

fn run_in(options: &Options, signals: &Signals, run: &Path, state: &Path) -> Result<bool> {
    let teller = Teller::new(options.json);
    let prediction = predict_image(&options.common.image)?;
    let mut network = Network::start(options, &teller, &prediction, run, state)?;
    let outcome = network.follow(options, signals, &prediction);
    let facts = match outcome {
        Ok(facts) => facts,
        Err(error) => {
            network.end(&teller);
            return Err(error);
        }
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&facts)?);
    } else {
        print!("{facts}");
    }
    if !options.once {
        teller.say("Ctrl-C stops all of it, in order.");
        network.stay(signals);
    }
    let is_in_order = network.end(&teller);
    Ok(facts.is_well() && is_in_order)
}
