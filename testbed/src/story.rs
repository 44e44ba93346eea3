//! What happens on a simulated host, told as it happens, each thing once.
//!
//! I/O: prints.

use std::io::{self, Write};
use std::time::Duration;

use testkit::azure::disk::DiskState;
use testkit::azure::host::RunningHost;
use testkit::azure::wireserver::Health;
use testkit::console::phases::{Phase, phases};

/// Prints lines, out of the way of a JSON document.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    is_json: bool,
    name: String,
}

impl Teller {
    /// Prints to standard output, or to standard error if that is for a document.
    pub(crate) fn new(is_json: bool) -> Self {
        let name = String::new();
        Self { is_json, name }
    }

    /// The same about a machine, whose name is put before each line.
    pub(crate) fn about(&self, machine: &str) -> Self {
        Self {
            name: format!("{machine} "),
            ..*self
        }
    }

    /// Prints a line.
    pub(crate) fn say(&self, text: &str) {
        let name = &self.name;
        // Whoever closed the output does not want to know.
        let _ = match self.is_json {
            true => writeln!(io::stderr(), "{name}{text}"),
            false => writeln!(io::stdout(), "{name}{text}"),
        };
    }
}

/// What has been told already.
#[derive(Debug)]
pub(crate) struct Story {
    teller: Teller,
    /// Also the console, line by line.
    has_console: bool,
    lines: usize,
    phases: usize,
    exchanges: usize,
    quotes: usize,
    disk: Option<DiskState>,
    health: Option<Health>,
}

impl Story {
    /// Nothing yet.
    pub(crate) fn new(teller: Teller, has_console: bool) -> Self {
        Self {
            teller,
            has_console,
            lines: 0,
            phases: 0,
            exchanges: 0,
            quotes: 0,
            disk: None,
            health: None,
        }
    }

    /// Says what is new.
    pub(crate) fn tell(&mut self, host: &RunningHost) {
        let console = host.machine.console();
        let lines = console.lines();
        if self.has_console {
            // The last one may not have ended yet.
            let ended = lines.len() - usize::from(!console.is_closed() && !lines.is_empty());
            for line in lines.iter().take(ended).skip(self.lines) {
                self.teller.say(&format!("| {}", line.text));
            }
            self.lines = self.lines.max(ended);
        }
        let phases = phases(&lines);
        for (phase, at) in phases.iter().skip(self.phases) {
            self.say(*at, phase.name());
        }
        self.phases = phases.len();
        self.tell_of_services(host, host.machine.started().elapsed());
    }

    fn tell_of_services(&mut self, host: &RunningHost, now: Duration) {
        let exchanges = host.wireserver.exchanges();
        for one in exchanges.iter().skip(self.exchanges) {
            let fault = one.fault.map(|fault| format!(", made wrong: {fault}"));
            let fault = fault.unwrap_or_default();
            let (method, target, status) = (&one.method, &one.target, one.status);
            self.say(
                now,
                &format!("wireserver: {method} {target}: {status}{fault}"),
            );
        }
        self.exchanges = exchanges.len();
        let quotes = host.metadata.quotes();
        if self.quotes != quotes {
            self.say(now, &format!("metadata: {quotes} quotes asked for"));
            self.quotes = quotes;
        }
        let state = host.disk().state();
        if self.disk.as_ref() != Some(&state) {
            self.say(now, &format!("data disk: {}", disk(&state)));
            self.disk = Some(state);
        }
        let reported = host.wireserver.health();
        if self.health != reported {
            self.say(now, &format!("health: {}", health(reported.as_ref())));
            self.health = reported;
        }
    }

    /// Whether userspace has been reached.
    pub(crate) fn is_booted(&self) -> bool {
        let before = Phase::ALL
            .iter()
            .filter(|phase| **phase <= Phase::Userspace);
        self.phases >= before.count()
    }

    fn say(&self, at: Duration, text: &str) {
        self.teller
            .say(&format!("{:6.1} s  {text}", at.as_secs_f64()));
    }
}

/// Where the data disk is, in words.
pub(crate) fn disk(state: &DiskState) -> String {
    let at = |at: &Duration| format!("{:.1} s after power-on", at.as_secs_f64());
    match state {
        DiskState::Away => "not there".to_owned(),
        DiskState::There(since) => format!("there since {}", at(since)),
        DiskState::Gone(since) => format!("gone since {}", at(since)),
        DiskState::Failed(why) => format!("QEMU refused: {why}"),
    }
}

/// What the node last reported, in words.
pub(crate) fn health(health: Option<&Health>) -> String {
    match health {
        None => "not reported".to_owned(),
        Some(Health::Ready) => "ready".to_owned(),
        Some(Health::NotReady(details)) => {
            format!("not ready, {}: {}", details.sub_status, details.description)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_is_told_in_words() {
        let there = DiskState::There(Duration::from_millis(52_540));
        assert_eq!(disk(&there), "there since 52.5 s after power-on");
    }
}
