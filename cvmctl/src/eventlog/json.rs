//! The answer for programs. Its form is described by `cvmctl eventlog --help`.
//!
//! I/O: none.

use std::collections::BTreeMap;

use anyhow::Context;
use measurements::event_log::Escaped;
use measurements::event_log::explain::{Explanation, RegisterCheck, Replay};
use measurements::tdx::SeparatorRegister;
use serde::Serialize;

use super::Answer;
use super::image::Compared;
use super::text::{register_of, registers, type_name};
use crate::report::Outcome;

/// Grows when a field gets another meaning.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document {
    version: u32,
    bank: &'static str,
    is_tdx: bool,
    events: Vec<EventJson>,
    registers: BTreeMap<u8, Option<String>>,
    pcrs: Option<BTreeMap<u8, CheckJson>>,
    image: Option<ImageJson>,
    outcome: &'static str,
}

#[derive(Serialize)]
struct EventJson {
    register: u32,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: String,
    digest: Option<String>,
    is_extended: bool,
    is_confirmed: bool,
    words: String,
}

#[derive(Serialize)]
struct CheckJson {
    given: Vec<String>,
    replayed: Option<String>,
    result: &'static str,
}

#[derive(Serialize)]
struct ImageJson {
    notes: Vec<String>,
    separator: Option<&'static str>,
    not_predicted: BTreeMap<u8, &'static str>,
    registers: BTreeMap<u8, ComparedJson>,
}

#[derive(Serialize)]
struct ComparedJson {
    predicted: String,
    replayed: Option<String>,
    findings: Vec<FindingJson>,
}

#[derive(Serialize)]
struct FindingJson {
    kind: &'static str,
    words: String,
    predicted: Option<String>,
    measured: Option<String>,
}

/// The whole answer, pretty-printed.
pub(super) fn document(answer: &Answer<'_>) -> anyhow::Result<String> {
    let logs = &answer.logs;
    let value = |register| {
        (
            register,
            logs.replay(register).map(|value| value.to_string()),
        )
    };
    let has_compared = answer.checks.is_some() || answer.image.is_some();
    let document = Document {
        version: VERSION,
        bank: logs.bank.as_str(),
        is_tdx: logs.firmware.is_of_tdx(),
        events: events(answer),
        registers: registers(logs).into_iter().map(value).collect(),
        pcrs: answer.checks.as_deref().map(checks),
        image: answer.image.as_ref().map(image),
        outcome: match answer.outcome() {
            Outcome::Good if !has_compared => "printed",
            Outcome::Good => "equal",
            Outcome::Bad => "different",
            Outcome::Undecided => "undecided",
        },
    };
    let mut json = serde_json::to_string_pretty(&document).context("write the answer as JSON")?;
    json.push('\n');
    Ok(json)
}

fn events(answer: &Answer<'_>) -> Vec<EventJson> {
    let logs = &answer.logs;
    let source = if answer.is_userspace_proven {
        "pcrs"
    } else {
        "systemd"
    };
    let firmware = logs.firmware.events.iter().map(|event| EventJson {
        register: event.pcr,
        source: "firmware",
        event_type: type_name(event.event_type),
        digest: event.digests.of(logs.bank).map(|digest| digest.to_string()),
        is_extended: event.is_extended(),
        is_confirmed: event.is_confirmed(),
        words: event.describe(),
    });
    let userspace = logs.userspace.iter().flat_map(|log| &log.events);
    let userspace = userspace.filter_map(|event| {
        Some(EventJson {
            register: register_of(logs, event.register)?.into(),
            source,
            event_type: Escaped(&event.kind).to_string(),
            digest: event.digests.of(logs.bank).map(|digest| digest.to_string()),
            is_extended: true,
            is_confirmed: event.is_confirmed(),
            words: Escaped(&event.text).to_string(),
        })
    });
    firmware.chain(userspace).collect()
}

fn checks(checks: &[RegisterCheck]) -> BTreeMap<u8, CheckJson> {
    let check = |check: &RegisterCheck| {
        let json = CheckJson {
            given: check.given.iter().map(ToString::to_string).collect(),
            replayed: check.replayed.map(|value| value.to_string()),
            result: match check.replay {
                Replay::Equal => "equal",
                Replay::EqualWithPhases(_) => "equal_with_phases",
                Replay::Different => "different",
                Replay::NotLogged => "not_logged",
                Replay::Unknown => "unknown",
            },
        };
        (check.register, json)
    };
    checks.iter().map(check).collect()
}

fn image(compared: &Compared) -> ImageJson {
    ImageJson {
        notes: compared.notes.clone(),
        separator: compared.separator.map(|register| match register {
            SeparatorRegister::Rtmr0 => "rtmr0",
            SeparatorRegister::Rtmr1 => "rtmr1",
        }),
        not_predicted: compared.not_predicted.clone(),
        registers: registers_compared(&compared.explanation),
    }
}

fn registers_compared(explanation: &Explanation) -> BTreeMap<u8, ComparedJson> {
    let registers = explanation.registers.iter().map(|register| {
        let findings = register.findings.iter().map(|finding| FindingJson {
            kind: finding.kind.as_str(),
            words: finding.text.clone(),
            predicted: finding.expected.map(|digest| digest.to_string()),
            measured: finding.actual.map(|digest| digest.to_string()),
        });
        let json = ComparedJson {
            predicted: register.expected.to_string(),
            replayed: register.actual.map(|value| value.to_string()),
            findings: findings.collect(),
        };
        (register.register, json)
    });
    registers.collect()
}
