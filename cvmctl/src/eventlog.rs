//! `cvmctl eventlog`: what a machine logged while it booted, and why that is not what was expected.
//!
//! I/O: opens the logs, the image and the file of registers, read-only.

mod image;
mod json;
mod pcrs;
mod request;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use measurements::event_log::explain::{Logs, RegisterCheck, Replay};
use measurements::event_log::{Bank, EventLog, UserspaceLog};
use measurements::reference::RegisterValue;

use image::Compared;
pub(crate) use request::EventlogArguments;
use request::Request;

use crate::report::{Outcome, Report, printable};

/// Largest log that is read; firmware's area has 64 KiB.
const MAX_LOG: u64 = 16 << 20;

/// Everything that is said about a log, before it is put into words.
struct Answer<'a> {
    logs: Logs<'a>,
    /// Whether userspace's part is no log, but what the given registers prove.
    is_userspace_proven: bool,
    /// Against registers that were given.
    checks: Option<Vec<RegisterCheck>>,
    /// Against an image that was given.
    image: Option<Compared>,
}

/// Reads the log and compares it with what was given.
pub(crate) fn run(request: &Request) -> anyhow::Result<Report> {
    let firmware = EventLog::parse_padded(&read(&request.log, MAX_LOG)?)
        .with_context(|| format!("read the event log {}", request.log.display()))?;
    let userspace = request.userspace_log.as_deref().map(read_userspace);
    let given = request.pcrs.as_deref().map(pcrs::read).transpose()?;
    let bank = choose_bank(request.bank, &firmware, given.as_deref())?;
    let given = given.map(|given| of_bank(&given, bank)).transpose()?;
    let userspace = userspace.transpose()?;
    let logs = Logs {
        firmware: &firmware,
        userspace: userspace.as_ref(),
        bank,
        command_lines: &request.command_lines,
    };
    let checks = given.map(|given| logs.check(&given));
    // What the registers prove to have been extended, too, is as good as a log.
    let proven = checks.as_deref().and_then(proven_phases);
    let proven = proven.map(UserspaceLog::of_phases);
    let logs = Logs {
        userspace: proven.as_ref().or(logs.userspace),
        ..logs
    };
    let image = request.image.as_deref();
    let image = image.map(|path| image::compare(logs, path, request));
    let image = image.transpose()?;
    for note in image.iter().flat_map(|image| &image.notes) {
        eprintln!("cvmctl: note: {}", printable(note));
    }
    let answer = Answer {
        logs,
        is_userspace_proven: proven.is_some(),
        checks,
        image,
    };
    Ok(Report {
        text: if request.json {
            json::document(&answer)?
        } else {
            text::document(&answer, request)
        },
        outcome: answer.outcome(),
    })
}

impl Answer<'_> {
    /// Different if anything is; undecided if nothing could be compared, or not all that should.
    fn outcome(&self) -> Outcome {
        let checks = self.checks.as_deref().unwrap_or_default();
        let has = |replay| checks.iter().any(|check| check.replay == replay);
        let image = self.image.as_ref();
        let is_different = image.is_some_and(|image| !image.explanation.is_equal());
        let is_incomplete = image.is_some_and(|image| !image.is_complete);
        let is_undecided = self.checks.is_some() && checks.iter().all(is_not_logged);
        if is_different || has(Replay::Different) {
            Outcome::Bad
        } else if is_undecided || is_incomplete {
            Outcome::Undecided
        } else {
            Outcome::Good
        }
    }
}

fn is_not_logged(check: &RegisterCheck) -> bool {
    check.replay == Replay::NotLogged
}

fn proven_phases(checks: &[RegisterCheck]) -> Option<&'static [&'static str]> {
    checks.iter().find_map(|check| match check.replay {
        Replay::EqualWithPhases(phases) => Some(phases),
        _ => None,
    })
}

/// The bank that was asked for; else that of the given registers; else the log's first.
fn choose_bank(
    wanted: Option<Bank>,
    log: &EventLog,
    given: Option<&[(u8, RegisterValue)]>,
) -> anyhow::Result<Bank> {
    let banks = &log.banks;
    let has_value = |bank: &Bank| {
        let mut given = given.unwrap_or_default().iter();
        given.any(|(_, value)| bank_of(*value) == *bank)
    };
    let chosen = match (wanted, given) {
        (Some(wanted), _) => Some(wanted).filter(|wanted| banks.contains(wanted)),
        (None, Some(_)) => banks.iter().copied().find(has_value),
        (None, None) => banks.first().copied(),
    };
    let names: Vec<&str> = banks.iter().map(|bank| bank.as_str()).collect();
    let names = names.join(" and ");
    match (chosen, wanted) {
        (Some(chosen), _) => Ok(chosen),
        (None, Some(wanted)) => bail!("expected a log with a {wanted} bank, got one with {names}"),
        (None, None) => {
            bail!("expected registers of a bank that the log has ({names}), got others")
        }
    }
}

fn of_bank(
    given: &[(u8, RegisterValue)],
    bank: Bank,
) -> anyhow::Result<BTreeMap<u8, Vec<RegisterValue>>> {
    let mut registers = BTreeMap::<u8, Vec<RegisterValue>>::new();
    for (register, value) in given.iter().filter(|(_, value)| bank_of(*value) == bank) {
        registers.entry(*register).or_default().push(*value);
    }
    ensure!(
        !registers.is_empty(),
        "expected registers of the {bank} bank, got others"
    );
    Ok(registers)
}

fn bank_of(value: RegisterValue) -> Bank {
    match value {
        RegisterValue::Sha256(_) => Bank::Sha256,
        RegisterValue::Sha384(_) => Bank::Sha384,
    }
}

fn read_userspace(path: &Path) -> anyhow::Result<UserspaceLog> {
    UserspaceLog::parse(&read(path, MAX_LOG)?)
        .with_context(|| format!("read systemd's log {}", path.display()))
}

/// Reads a file that may be one of the kernel's, which have no size, or a pipe.
fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    ensure!(
        size <= limit,
        "expected at most {limit} bytes in {}, got more",
        path.display()
    );
    Ok(bytes)
}
