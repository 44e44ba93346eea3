//! `cvmctl eventlog`: what a machine logged while it booted, and why that is not what was expected.
//!
//! I/O: opens the logs, the image and the file of registers, read-only.

mod image;
mod json;
mod pcrs;
mod request;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use measurements::event_log::explain::{Logs, RegisterCheck, Replay};
use measurements::event_log::{Bank, EventLog, UserspaceLog};
use measurements::reference::RegisterValue;

use image::Compared;
pub(crate) use request::EventlogArguments;
use request::Request;

use crate::files::read;
use crate::report::{Outcome, Report, one_line};

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
    let is_of_tdx = firmware.is_of_tdx();
    let given = request.pcrs.as_deref();
    let given = given
        .map(|given| pcrs::read(given, is_of_tdx))
        .transpose()?;
    let bank = choose_bank(request.bank, &firmware, given.as_deref())?;
    let userspace = userspace.transpose()?;
    let logs = Logs {
        firmware: &firmware,
        userspace: userspace.as_ref(),
        bank,
        command_lines: &request.command_lines,
    };
    let given = given.map(|given| of_bank(&given, &logs)).transpose()?;
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
        eprintln!("cvmctl: note: {}", one_line(note));
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
        let is_different = image.is_some_and(|image| image.different().next().is_some());
        let is_incomplete = image.is_some_and(|image| {
            !image.is_complete
                || !image.explanation.is_equal()
                || image.unproven(checks).next().is_some() && self.checks.is_some()
        });
        let is_undecided = self.checks.is_some() && checks.iter().all(is_not_logged);
        if is_different || has(Replay::Different) {
            Outcome::Bad
        } else if is_undecided || is_incomplete || has(Replay::Unknown) {
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

/// The bank that was asked for; else the log's first that all given registers are of, or any.
fn choose_bank(
    wanted: Option<Bank>,
    log: &EventLog,
    given: Option<&[(u8, RegisterValue)]>,
) -> anyhow::Result<Bank> {
    let banks = &log.banks;
    let count = |bank: &Bank| {
        let given = given.unwrap_or_default().iter();
        given.filter(|(_, value)| bank_of(*value) == *bank).count()
    };
    let most = banks.iter().map(count).max().filter(|most| *most > 0);
    let has_most = |bank: &Bank| Some(count(bank)) == most;
    let chosen = match (wanted, given) {
        (Some(wanted), _) => Some(wanted).filter(|wanted| banks.contains(wanted)),
        (None, Some(_)) => banks.iter().copied().find(has_most),
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

/// The values that are compared. Registers that have none of this bank would be passed over, so
/// that they are refused.
fn of_bank(
    given: &[(u8, RegisterValue)],
    logs: &Logs<'_>,
) -> anyhow::Result<BTreeMap<u8, Vec<RegisterValue>>> {
    let bank = logs.bank;
    ensure!(!given.is_empty(), "expected registers, got none");
    let mut registers = BTreeMap::<u8, Vec<RegisterValue>>::new();
    for (register, value) in given {
        let values = registers.entry(*register).or_default();
        values.extend(Some(*value).filter(|value| bank_of(*value) == bank));
    }
    let others = registers.iter().filter(|(_, values)| values.is_empty());
    let others: Vec<String> = others.map(|(r, _)| logs.register_name(*r)).collect();
    ensure!(
        others.is_empty(),
        "expected every register in the {bank} bank, got {} in another one only",
        others.join(", ")
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
