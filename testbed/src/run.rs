//! `testbed run`: boots an image, says how to reach it, stays until Ctrl-C.
//!
//! I/O: starts the machine; prints.

mod summary;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use testkit::console::phases::Phase;
use testkit::machine::{Accelerator, Forward, Machine};

use crate::Common;
use crate::registers::predict_image;
use crate::session::{ATTESTATION_PORT, Session, State};
use crate::signals::Signals;
use crate::work::Work;
use summary::Summary;

/// How long the guest may take to shut down in order.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// How often signals and the console are looked at.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Show the console
    #[arg(long)]
    console: bool,
    /// A port of the guest to reach at one of 127.0.0.1; may be repeated
    #[arg(long = "port", value_name = "GUEST=HOST", default_value = "7936")]
    ports: Vec<Port>,
    /// Keep the TPM and the firmware's variables in this directory, and use them again
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// End after the checks instead of staying
    #[arg(long)]
    once: bool,
    /// Print a JSON summary to standard output, and all else to standard error
    #[arg(long)]
    json: bool,
    /// How long the boot may take, in seconds
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    timeout: u64,
}

/// A port of the guest and, if it was given, the one on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port {
    guest: u16,
    host: Option<u16>,
}

impl FromStr for Port {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((guest, host)) => Self {
                guest: guest.parse()?,
                host: Some(host.parse()?),
            },
            None => Self {
                guest: text.parse()?,
                host: None,
            },
        })
    }
}

impl Port {
    /// Without a wish: the same number if it is free, else any.
    fn forward(self) -> Forward {
        let guest = self.guest;
        let same = || match TcpListener::bind((Ipv4Addr::LOCALHOST, guest)) {
            Ok(_) => guest,
            Err(_) => 0,
        };
        Forward {
            guest,
            host: self.host.unwrap_or_else(same),
        }
    }
}

/// Runs the image; returns whether its registers are as predicted.
///
/// # Errors
///
/// Also if it was interrupted before they were compared; afterwards that is how it ends.
pub(crate) fn run(options: &Options, signals: Signals) -> Result<bool> {
    let work = Work::new(options.common.run_dir.as_deref())?;
    let outcome = run_in(options, &signals, &work);
    if !matches!(outcome, Ok(true)) {
        say(options, &format!("logs: {}", work.keep().display()));
    }
    outcome
}

fn run_in(options: &Options, signals: &Signals, work: &Work) -> Result<bool> {
    let image = &options.common.image;
    let prediction = predict_image(image)?;
    let state = State::in_directory(&match &options.state {
        Some(directory) => directory.clone(),
        None => work.path().join("state"),
    })?;
    let machine = machine(options, &state);
    say(
        options,
        &format!(
            "{}\n{}, {} processors, {} MiB, no network but 127.0.0.1",
            image.display(),
            machine.accelerator.name(),
            machine.cpus,
            machine.memory
        ),
    );
    let session = Session::start(&machine, &state, work.path())?;
    if let Some(input) = session
        .machine
        .take_console_input()
        .filter(|_| options.console)
    {
        thread::spawn(move || type_on_console(input));
    }
    if !follow_boot(options, signals, &session)? {
        end(options, &session);
        bail!("interrupted before the registers were compared");
    }
    let comparison = session.compare(&prediction)?;
    let summary = Summary::of(&session, image, work.path(), comparison)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    if !options.once {
        say(options, "Ctrl-C shuts it down.");
        while !signals.stop() && session.machine.ended().is_none() {
            thread::sleep(POLL);
        }
    }
    end(options, &session);
    Ok(summary.is_equal())
}

fn machine(options: &Options, state: &State) -> Machine {
    let image = options.common.image.clone();
    Machine {
        memory: options.common.memory,
        cpus: options.common.cpus,
        accelerator: Accelerator::detect(),
        forwards: options.ports.iter().map(|port| port.forward()).collect(),
        echo: options.console,
        ..Machine::new(image, state.variables())
    }
}

/// Says how far the boot is until `/cert` answers; returns false if the user had enough before.
fn follow_boot(options: &Options, signals: &Signals, session: &Session) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(options.timeout);
    let mut shown = 0;
    loop {
        let phases = session.phases();
        for (phase, at) in phases.iter().skip(shown) {
            say(
                options,
                &format!("{:6.1} s  {}", at.as_secs_f64(), phase.name()),
            );
        }
        shown = phases.len();
        if signals.stop() {
            return Ok(false);
        }
        if let Some(status) = session.machine.ended() {
            let tail = session.machine.console().tail(20);
            bail!("the machine ended ({status}); its last words:\n{tail}");
        }
        let is_up = phases.iter().any(|(phase, _)| *phase >= Phase::Userspace);
        if is_up && session.wait_for_certificate(Duration::ZERO).is_ok() {
            return Ok(true);
        }
        if Instant::now() >= end {
            let tail = session.machine.console().tail(20);
            bail!(
                "nothing answers on port {ATTESTATION_PORT} after {} s; the console's end:\n{tail}",
                options.timeout
            );
        }
        thread::sleep(POLL);
    }
}

fn end(options: &Options, session: &Session) {
    say(options, "shutting down");
    if !session.machine.power_down(SHUTDOWN_TIMEOUT) {
        say(options, "it does not shut down by itself: killed");
    }
}

/// Passes lines from standard input to the console until either ends.
fn type_on_console(mut console: ChildStdin) -> io::Result<()> {
    for line in io::stdin().lines() {
        writeln!(console, "{}", line?)?;
    }
    Ok(())
}

fn say(options: &Options, text: &str) {
    // Whoever closed the output does not want to know.
    let _ = match options.json {
        true => writeln!(io::stderr(), "{text}"),
        false => writeln!(io::stdout(), "{text}"),
    };
}

impl Summary {
    fn of(
        session: &Session,
        image: &std::path::Path,
        logs: &std::path::Path,
        registers: crate::registers::Comparison,
    ) -> Result<Self> {
        let port = session
            .machine
            .forward_tcp(ATTESTATION_PORT)
            .context("find the attestation port")?;
        Ok(Self::new(image, port, session.phases(), logs, registers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_parsed() {
        let port: Port = "443=8443".parse().unwrap();
        assert_eq!((port.guest, port.host), (443, Some(8443)));
        let port: Port = "7936".parse().unwrap();
        assert_eq!((port.guest, port.host), (7936, None));
        assert!("70000=1".parse::<Port>().is_err());
        assert!("a=b".parse::<Port>().is_err());
    }

    #[test]
    fn taken_port_is_not_wished_for() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let guest = taken.local_addr().unwrap().port();
        let forward = Port { guest, host: None }.forward();
        assert_eq!(forward.host, 0);
    }
}
