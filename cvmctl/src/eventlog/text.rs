//! The answer for people.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::fmt::Write;

use measurements::event_log::explain::{Logs, RegisterCheck, Replay};
use measurements::event_log::{Escaped, UserspaceRegister, event_type};
use measurements::reference::RegisterValue;
use measurements::tdx::SeparatorRegister;

use super::image::{Compared, is_proven};
use super::{Answer, Request};
use crate::report::{Outcome, one_line};

/// The comparisons that were asked for; every event if none was.
pub(super) fn document(answer: &Answer<'_>, request: &Request) -> String {
    let mut text = String::new();
    if let Some(checks) = &answer.checks {
        write_checks(&mut text, checks, &answer.logs);
    }
    if let Some(compared) = &answer.image {
        write_compared(&mut text, compared, answer);
        let image = request.image.as_deref();
        let image = image.map(|path| one_line(&path.display().to_string()));
        write_verdict(&mut text, answer, compared, &image.unwrap_or_default());
        if answer.checks.is_none() {
            text.push_str(
                "note: a log proves nothing by itself, give the quoted registers (--pcrs)\n",
            );
        }
    }
    if answer.checks.is_none() && answer.image.is_none() {
        write_events(&mut text, &answer.logs);
    }
    text
}

/// Every register with what was extended into it.
fn write_events(text: &mut String, logs: &Logs<'_>) {
    for register in registers(logs) {
        let name = name(logs, register);
        let value = value(logs.replay(register));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}  {value}");
        for event in logs.firmware.extended(register.into()) {
            let digest = value_or_dash(event.digests.of(logs.bank));
            let mark = mark(event.is_confirmed());
            let kind = type_name(event.event_type);
            let words = event.describe();
            let _ = writeln!(text, "        {digest}  {mark} {words} ({kind})");
        }
        for event in by_systemd(logs, register) {
            let digest = value_or_dash(event.digests.of(logs.bank));
            let mark = mark(event.is_confirmed());
            let (words, kind) = (Escaped(&event.text), Escaped(&event.kind));
            let _ = writeln!(
                text,
                "        {digest}  {mark} \"{words}\" (systemd: {kind})"
            );
        }
    }
    text.push_str(
        "= the digest is of what the line says; ~ it is of something that the log only names\n",
    );
}

fn write_checks(text: &mut String, checks: &[RegisterCheck], logs: &Logs<'_>) {
    for check in checks {
        let name = name(logs, check.register);
        let replayed = value(check.replayed);
        let _ = match check.replay {
            Replay::Equal => writeln!(text, "{name}  {replayed}  the log replays to it"),
            Replay::EqualWithPhases(phases) => {
                let given = join(&check.given);
                let phases = phases.join(", ");
                writeln!(
                    text,
                    "{name}  {given}  the log replays to it, followed by the boot phases {phases}"
                )
            }
            Replay::NotLogged => {
                let given = join(&check.given);
                writeln!(text, "{name}  {given}  is not in this log")
            }
            Replay::Unknown => {
                let given = join(&check.given);
                writeln!(text, "{name}  {given}  is of a bank that the logs have not")
            }
            Replay::Different => {
                let given = join(&check.given);
                writeln!(
                    text,
                    "{name}  differs\n  given     {given}\n  replayed  {replayed}"
                )
            }
        };
    }
    let different = with(checks, Replay::Different, logs);
    let unknown = with(checks, Replay::Unknown, logs);
    let has_compared = checks.iter().any(|check| check.replay != Replay::NotLogged);
    let _ = if !different.is_empty() {
        writeln!(
            text,
            "the log is not the one of these registers: {different}"
        )
    } else if !unknown.is_empty() {
        writeln!(
            text,
            "could not tell: the logs replay to no {} value of {unknown}",
            logs.bank
        )
    } else if has_compared {
        writeln!(text, "the log is the one of these registers")
    } else {
        writeln!(
            text,
            "could not tell: none of these registers is in the log"
        )
    };
}

/// The names of registers that compare in this way.
fn with(checks: &[RegisterCheck], replay: Replay, logs: &Logs<'_>) -> String {
    let checks = checks.iter().filter(|check| check.replay == replay);
    let names: Vec<String> = checks
        .map(|check| logs.register_name(check.register))
        .collect();
    names.join(", ")
}

fn write_compared(text: &mut String, compared: &Compared, answer: &Answer<'_>) {
    let logs = &answer.logs;
    let is_claim = |register| {
        let checks = answer.checks.as_deref();
        checks.is_some_and(|checks| !is_proven(checks, register))
    };
    for register in &compared.explanation.registers {
        let name = name(logs, register.register);
        let measured = value(register.actual);
        if register.findings.is_empty() {
            let claim = if is_claim(register.register) {
                ", but only the log says so"
            } else {
                ""
            };
            let _ = writeln!(text, "{name}  {measured}  as predicted{claim}");
            continue;
        }
        let predicted = register.expected;
        let how = if register.is_different() {
            "differs"
        } else {
            "is not known"
        };
        let _ = writeln!(
            text,
            "{name}  {how}\n  predicted  {predicted}\n  measured   {measured}"
        );
        for finding in &register.findings {
            let _ = writeln!(text, "  - {}", finding.text);
        }
    }
    for (register, reason) in &compared.not_predicted {
        let name = name(logs, *register);
        let _ = writeln!(text, "{name}  {reason}");
    }
    text.push_str(match compared.separator {
        Some(SeparatorRegister::Rtmr1) => {
            "the separator is in RTMR1: firmware since edk2-stable202411\n"
        }
        Some(SeparatorRegister::Rtmr0) => {
            "the separator is in RTMR0: firmware before edk2-stable202411\n"
        }
        None => "",
    });
}

/// The last word, which agrees with the exit code.
fn write_verdict(text: &mut String, answer: &Answer<'_>, compared: &Compared, image: &str) {
    let logs = &answer.logs;
    let list = |registers: &mut dyn Iterator<Item = u8>| {
        let names: Vec<String> = registers.map(|r| logs.register_name(r)).collect();
        names.join(", ")
    };
    let different = list(&mut compared.different().map(|r| r.register));
    let registers = compared.explanation.registers.iter();
    let unknown = list(&mut registers.filter(|r| r.actual.is_none()).map(|r| r.register));
    let unproven = answer.checks.as_deref();
    let unproven = unproven.map(|checks| list(&mut compared.unproven(checks)));
    let unproven = unproven.filter(|names| !names.is_empty());
    let _ = match answer.outcome() {
        Outcome::Bad if different.is_empty() => {
            writeln!(
                text,
                "different: the log is not the one of the given registers, and says nothing about {image}"
            )
        }
        Outcome::Bad => writeln!(text, "different from {image}: {different}"),
        Outcome::Undecided if !compared.is_complete => {
            writeln!(text, "could not tell: {image} is not predicted in full")
        }
        Outcome::Undecided if !unknown.is_empty() => {
            let bank = logs.bank;
            writeln!(
                text,
                "could not tell: the logs replay to no {bank} value of {unknown}"
            )
        }
        Outcome::Undecided => match unproven {
            Some(unproven) => writeln!(
                text,
                "could not tell: {unproven} were not given, only the log says so"
            ),
            None => writeln!(text, "could not tell: not all given registers are compared"),
        },
        Outcome::Good => writeln!(text, "equal to {image}"),
    };
}

/// Registers that anything was extended into.
pub(super) fn registers(logs: &Logs<'_>) -> BTreeSet<u8> {
    let events = logs.firmware.events.iter();
    let extended = events.filter(|event| event.is_extended());
    let firmware = extended.filter_map(|event| u8::try_from(event.pcr).ok());
    let userspace = logs.userspace.iter().flat_map(|log| &log.events);
    let userspace = userspace.filter_map(|event| register_of(logs, event.register));
    firmware.chain(userspace).collect()
}

/// The number of a register in the firmware's log; `None` if that has no such register.
pub(super) fn register_of(logs: &Logs<'_>, register: UserspaceRegister) -> Option<u8> {
    let is_of_tdx = logs.firmware.is_of_tdx();
    match register {
        UserspaceRegister::Pcr(pcr) => (!is_of_tdx).then_some(pcr),
        UserspaceRegister::Rtmr(rtmr) => rtmr.checked_add(1).filter(|_| is_of_tdx),
        UserspaceRegister::NvIndex(_) => None,
    }
}

fn by_systemd<'l>(
    logs: &'l Logs<'_>,
    register: u8,
) -> impl Iterator<Item = &'l measurements::event_log::UserspaceEvent> {
    let events = logs.userspace.into_iter().flat_map(|log| &log.events);
    events.filter(move |event| register_of(logs, event.register) == Some(register))
}

pub(super) fn type_name(event_type: u32) -> String {
    let known = event_type::name(event_type).map(str::to_owned);
    known.unwrap_or_else(|| format!("{event_type:#x}"))
}

/// `PCR  4`, `RTMR1 `; of one width.
fn name(logs: &Logs<'_>, register: u8) -> String {
    if logs.firmware.is_of_tdx() {
        format!("{:6}", logs.register_name(register))
    } else {
        format!("PCR {register:2}")
    }
}

fn value(value: Option<RegisterValue>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn value_or_dash(value: Option<RegisterValue>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn mark(is_confirmed: bool) -> char {
    if is_confirmed { '=' } else { '~' }
}

fn join(values: &[RegisterValue]) -> String {
    let values: Vec<String> = values.iter().map(RegisterValue::to_string).collect();
    values.join(" or ")
}
