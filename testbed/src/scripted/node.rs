//! The node, the ways between it and its hubs, and what it says.
//!
//! What a node does by itself is seen from outside only: on its console, at its ports, and by whom it
//! asks. So every wait here is for a line of the console, after a mark; nothing is waited for by time.
//!
//! I/O: starts the host; listens on loopback.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::azure::host::{AzureHost, RunningHost};
use testkit::azure::hub::NAME;
use testkit::azure::way::{Course, Way};
use testkit::console::Line;
use testkit::fetch::{fetch_insecure, local};

use crate::session::ATTESTATION_PORT;
use crate::signals::Signals;

/// How the hub is reached from inside: an address that QEMU forwards, and the port of its URL.
const HUB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(168, 20, 0, 1), 443);
/// The same of a machine that is not the hub.
const OTHER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(168, 20, 0, 2), 443);
/// An address that nobody answers at.
const NOBODY: Ipv4Addr = Ipv4Addr::new(168, 20, 0, 3);

/// What every line of the boot has on the console.
const AGENT: &str = "cvm-agent[";
/// How often it is looked whether the machine has ended.
const POLL: Duration = Duration::from_millis(500);
/// How long one attempt to reach the node may take.
const ANSWER: Duration = Duration::from_secs(10);

/// That the configuration is there, on the console.
pub(crate) const CONFIGURED: &str =
    "configuration: fetched, and nothing that is required is missing";
/// That the node is ready.
pub(crate) const READY: &str = "ready: this node is ready";
/// That a refresh has found something else, before what that is.
pub(crate) const CHANGED: &str = "refresh: changed: ";

/// What is before the fingerprint of the node's certificate.
const FINGERPRINT: &str = "certificate_sha256=";

/// Where the hub's name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To the hub.
    Hub,
    /// To a machine that is not the hub.
    Other,
    /// To an address that nobody answers at.
    Nobody,
    /// Nowhere: there is no such name.
    Nowhere,
}

/// What is to be started.
pub(crate) struct Plan {
    pub(crate) host: AzureHost,
    /// Logs.
    pub(crate) run: PathBuf,
    /// What outlasts a boot.
    pub(crate) state: PathBuf,
    /// Where the hub is.
    pub(crate) hub: SocketAddrV4,
    /// Where the machine is that is not the hub.
    pub(crate) other: SocketAddrV4,
}

/// A place on the console; what is looked for comes after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

/// A running node. The machine is dropped, and so ended, before the ways.
pub(crate) struct Node {
    pub(crate) host: RunningHost,
    way: Way,
    _other: Way,
    patience: Duration,
    signals: Signals,
}

impl Node {
    /// Starts it. Each wait may take as long as `patience`.
    pub(crate) fn start(plan: Plan, patience: Duration, signals: &Signals) -> Result<Self> {
        let Plan { mut host, .. } = plan;
        let way = Way::start(Course::To(plan.hub)).context("make a way to the hub")?;
        let other = Way::start(Course::To(plan.other)).context("make a way to another machine")?;
        host.reach(HUB, Some(NAME), way.address())?;
        host.reach(OTHER, None, other.address())?;
        let host = host
            .start(&plan.run, &plan.state)
            .context("start the node")?;
        Ok(Self {
            host,
            way,
            _other: other,
            patience,
            signals: signals.clone(),
        })
    }

    /// Changes what becomes of connections to the hub, and ends those that are open.
    pub(crate) fn lead(&self, course: Course) {
        self.way.set(course);
    }

    /// Ends the connections to the hub, so that the next request takes a new one.
    pub(crate) fn disconnect(&self) {
        self.way.set(self.way.course());
    }

    /// Has the hub's name lead somewhere, and ends the connections.
    pub(crate) fn resolve(&self, leads: Leads) {
        let address = match leads {
            Leads::Hub => Some(*HUB.ip()),
            Leads::Other => Some(*OTHER.ip()),
            Leads::Nobody => Some(NOBODY),
            Leads::Nowhere => None,
        };
        self.host.wire().set_name(NAME, address);
        self.disconnect();
    }

    /// The console's end.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.host.machine.console().lines().len())
    }

    /// The console's beginning.
    pub(crate) fn power_on(&self) -> Mark {
        Mark(0)
    }

    /// Waits until the boot says all of these words in one line, and returns it.
    pub(crate) fn says(&self, mark: Mark, words: &[&str]) -> Result<Line> {
        let end = Instant::now() + self.patience;
        let console = self.host.machine.console();
        loop {
            let limit = POLL.min(end.saturating_duration_since(Instant::now()));
            let found = console.wait(limit, |lines| {
                let mut after = lines.iter().enumerate().skip(mark.0);
                let found = after.find(|(_, line)| is_said(&line.text, words));
                found.map(|(number, _)| number)
            });
            if let Some(number) = found {
                // It may not have said all of it yet.
                match console.ended_lines().get(number) {
                    Some(line) => return Ok(line.clone()),
                    None => thread::sleep(POLL),
                }
            }
            if let Some(status) = self.host.machine.ended() {
                bail!("the machine ended ({status}) before it said {words:?}");
            }
            if self.signals.stop() {
                bail!("interrupted before it said {words:?}");
            }
            if Instant::now() >= end {
                bail!(
                    "it has not said {words:?} within {} s",
                    self.patience.as_secs()
                );
            }
        }
    }

    /// Whether the boot has said these words since.
    pub(crate) fn has_said(&self, mark: Mark, words: &[&str]) -> bool {
        let lines = self.host.machine.console().lines();
        let mut after = lines.iter().skip(mark.0);
        after.any(|line| is_said(&line.text, words))
    }

    /// The fingerprint of its certificate, by its own word, and when it said so first; none before it has one.
    pub(crate) fn fingerprint(&self) -> Option<(String, Duration)> {
        fingerprint(&self.host.machine.console().ended_lines())
    }

    /// What it serves to whoever asks for its certificate.
    pub(crate) fn certificate(&self) -> Result<String> {
        self.fetch("/cert")
    }

    /// What it answers on its attested port.
    pub(crate) fn fetch(&self, path: &str) -> Result<String> {
        let port = self.host.machine.forward_tcp(ATTESTATION_PORT)?;
        let body = fetch_insecure(local(port), path, ANSWER);
        let body = body.with_context(|| format!("fetch {path}"))?;
        String::from_utf8(body).with_context(|| format!("read {path}"))
    }

    /// Looks again and again, for so long, whether something is still so.
    pub(crate) fn for_a_while(
        &self,
        time: Duration,
        mut is_so: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            is_so()?;
            if self.signals.stop() {
                bail!("interrupted");
            }
            thread::sleep(POLL);
        }
        is_so()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let end = Instant::now() + self.patience;
        while !is_so() {
            if let Some(status) = self.host.machine.ended() {
                bail!("{what}: the machine ended ({status})");
            }
            if self.signals.stop() || Instant::now() >= end {
                bail!("{what}: not within {} s", self.patience.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn is_said(line: &str, words: &[&str]) -> bool {
    line.contains(AGENT) && words.iter().all(|words| line.contains(words))
}

/// The last fingerprint that was said, and when it was said first.
fn fingerprint(lines: &[Line]) -> Option<(String, Duration)> {
    let of = |line: &Line| {
        let is_said = is_said(&line.text, &["identity: "]);
        let (_, rest) = line.text.split_once(FINGERPRINT).filter(|_| is_said)?;
        let end = rest.find(|it: char| !it.is_ascii_hexdigit());
        let hexadecimal = rest.get(..end.unwrap_or(rest.len()))?;
        Some((hexadecimal.to_owned(), line.at))
    };
    let last = lines.iter().rev().find_map(of)?;
    lines.iter().filter_map(of).find(|it| it.0 == last.0)
}

/// What the boot said, without what the console puts before it.
pub(crate) fn said(line: &str) -> &str {
    let rest = line.split_once(AGENT).map(|(_, rest)| rest);
    let said = rest.and_then(|rest| rest.split_once("]: "));
    said.map_or(line, |(_, said)| said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fingerprint_counts() {
        let line = |at, text: &str| Line {
            at: Duration::from_secs(at),
            text: format!("[ 1.2] cvm-agent[1]: {text}"),
        };
        let lines = [
            line(1, "identity: certificate_sha256=aa11, after 0.1 s"),
            line(2, "registration: certificate_sha256=ff"),
            line(
                3,
                "identity: another one, certificate_sha256=bb22, after 0.1 s",
            ),
            line(4, "identity: certificate_sha256=bb22"),
        ];
        let found = |upto| fingerprint(&lines[..upto]);
        assert_eq!(found(0), None);
        assert_eq!(found(2), Some(("aa11".to_owned(), Duration::from_secs(1))));
        assert_eq!(found(4), Some(("bb22".to_owned(), Duration::from_secs(3))));
    }

    #[test]
    fn only_the_boot_is_listened_to_and_all_words_count() {
        let line = "[   67.379462] cvm-agent[380]: clock: plausible, after 0.0 s";
        assert!(is_said(line, &["clock: ", "plausible"]));
        assert!(!is_said(line, &["clock: ", "implausible"]));
        assert!(!is_said("systemd[1]: clock: plausible", &["clock: "]));
        assert_eq!(said(line), "clock: plausible, after 0.0 s");
        assert_eq!(said("else"), "else");
    }
}
