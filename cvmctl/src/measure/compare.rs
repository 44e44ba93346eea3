//! `--compare` and `--compare-events`: is it what was published, and if not, what has changed?
//!
//! I/O: reads the files to compare with.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};
use measurements::explain::{self, Difference};
use measurements::reference::{
    AttestationType, ReferenceValues, RegisterMatch, RegisterValue, Verdict,
};
use measurements::{Register, event_log};

use super::Bank;
use super::events::{EventList, event_lines, mrtd};
use super::predicted::{Name, Predicted};
use super::request::{CompareWith, Request};
use crate::files;
use crate::report::{Outcome, Report, one_line};

/// Largest file that is read: as much as the largest log.
const MAX_SIZE: u64 = 16 << 20;

/// Compares with every file that was given; the worst outcome counts.
pub(super) fn run(
    files: &CompareWith,
    request: &Request,
    prediction: &Predicted,
) -> anyhow::Result<Report> {
    let mut reports = Vec::new();
    if let Some(path) = &files.values {
        let entry = files.entry.as_deref();
        reports.push(with_values(path, entry, request, prediction)?);
    }
    if let Some(path) = &files.events {
        reports.push(with_events(path, prediction)?);
    }
    // The last line is the one that the exit code agrees with.
    reports.sort_by_key(|report| match report.outcome {
        Outcome::Good => 0,
        Outcome::Undecided => 1,
        Outcome::Bad => 2,
    });
    let outcome = reports.last().map_or(Outcome::Good, |last| last.outcome);
    let text = reports.into_iter().map(|report| report.text).collect();
    Ok(Report { text, outcome })
}

fn with_values(
    path: &Path,
    id: Option<&str>,
    request: &Request,
    prediction: &Predicted,
) -> anyhow::Result<Report> {
    let file = one_line(&path.display().to_string());
    let published = ReferenceValues::parse(&read(path)?)
        .with_context(|| format!("read the reference values in {file}"))?;
    let kind = request.attestation_type;
    let candidates: Vec<_> = published
        .iter()
        .filter(|entry| entry.attestation_type == kind)
        .filter(|entry| id.is_none_or(|id| entry.measurement_id == id))
        .map(|entry| (entry, prediction.compare(entry)))
        .collect();
    let Some((entry, matches)) = candidates.iter().max_by_key(|(_, matches)| rank(matches)) else {
        let wanted = id.map(|id| format!(" named {id}")).unwrap_or_default();
        bail!("compare with {file}: expected an entry for {kind}{wanted}, got none");
    };

    let unpredicted = prediction.unpredicted();
    let outcome = match outcome(matches) {
        Outcome::Good if !unpredicted.is_empty() => Outcome::Undecided,
        outcome => outcome,
    };
    let lines = matches
        .iter()
        .map(|m| line(m, entry.attestation_type, prediction));
    let mut text: String = lines.collect();
    let name = one_line(&entry.measurement_id);
    // Writing to a string cannot fail.
    let _ = match (outcome, candidates.len()) {
        (Outcome::Good, _) => writeln!(text, "equal to {file} ({name})"),
        (Outcome::Bad, 1) => writeln!(text, "different from {file} ({name})"),
        (Outcome::Bad, several) => {
            writeln!(
                text,
                "different from all {several} entries of {file}, {name} is the closest"
            )
        }
        (Outcome::Undecided, _) => {
            let reason = reason(matches, kind, &unpredicted);
            writeln!(text, "could not tell: {file} ({name}) {reason}")
        }
    };
    Ok(Report { text, outcome })
}

fn with_events(path: &Path, prediction: &Predicted) -> anyhow::Result<Report> {
    let file = one_line(&path.display().to_string());
    let list =
        EventList::parse(&read(path)?).with_context(|| format!("read the events in {file}"))?;
    let unknown = unknown(&list, prediction);
    let differences = event_differences(&list, prediction, &unknown);
    let bank = |name: &Name| match name {
        Name::Pcr(_) => event_log::Bank::Sha256,
        Name::Mrtd | Name::Rtmr(_) => event_log::Bank::Sha384,
    };
    let mut text: String = differences
        .iter()
        .map(|(name, difference)| format!("{name}: {}\n", difference.in_bank(bank(name))))
        .collect();
    let mrtd = list.mrtd.zip(mrtd(prediction));
    let mrtd = mrtd.filter(|(expected, actual)| expected != actual);
    // Writing to a string cannot fail.
    if let Some((expected, actual)) = mrtd {
        let _ = writeln!(
            text,
            "MRTD differs:\n  expected {expected}\n  actual   {actual}"
        );
    }
    let name = one_line(&list.measurement_id);
    let unknown: Vec<String> = unknown.iter().map(Name::to_string).collect();
    let unknown = unknown.join(" and ");
    let _ = match differences.len() {
        0 if mrtd.is_some() => writeln!(text, "MRTD different from {file} ({name})"),
        0 if !unknown.is_empty() => {
            writeln!(
                text,
                "could not tell: {unknown} is known of one side at most, the image or {file} ({name})"
            )
        }
        0 => writeln!(text, "events equal to {file} ({name})"),
        1 => writeln!(text, "1 event different from {file} ({name})"),
        many => writeln!(text, "{many} events different from {file} ({name})"),
    };
    let outcome = if !differences.is_empty() || mrtd.is_some() {
        Outcome::Bad
    } else if !unknown.is_empty() {
        Outcome::Undecided
    } else {
        Outcome::Good
    };
    Ok(Report { text, outcome })
}

/// Registers that cannot be compared: one of the two does not know them.
fn unknown(list: &EventList, predicted: &Predicted) -> BTreeSet<Name> {
    let of_list = predicted.unpredicted_of(|name| list.registers.contains_key(&name), &list.notes);
    let mut unknown: BTreeSet<Name> = predicted.unpredicted().into_iter().collect();
    unknown.extend(of_list);
    if list.mrtd.is_some() != mrtd(predicted).is_some() {
        unknown.insert(Name::Mrtd);
    }
    unknown
}

/// Compares the events of every register that either side has, and neither does not know.
fn event_differences(
    list: &EventList,
    predicted: &Predicted,
    unknown: &BTreeSet<Name>,
) -> Vec<(Name, Difference)> {
    let actual = predicted.registers();
    let names: BTreeSet<Name> = list
        .registers
        .keys()
        .chain(actual.keys())
        .copied()
        .filter(|name| !unknown.contains(name))
        .collect();
    let events = |register: Option<&Register>| register.map(|r| r.events.clone());
    let of = |name| {
        let expected = events(list.registers.get(&name)).unwrap_or_default();
        let actual = events(actual.get(&name).copied()).unwrap_or_default();
        explain::event_differences(&expected, &actual)
    };
    names
        .into_iter()
        .flat_map(|name| of(name).into_iter().map(move |d| (name, d)))
        .collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = files::read(path, MAX_SIZE)?;
    String::from_utf8(bytes).with_context(|| format!("read {} as text", path.display()))
}

/// Equal entries first, then those with the most registers in common.
fn rank(matches: &[RegisterMatch]) -> (bool, usize) {
    let equal = matches
        .iter()
        .filter(|m| m.verdict() == Verdict::Equal)
        .count();
    (outcome(matches) == Outcome::Good, equal)
}

/// Equal only if every predicted register is published: any value would do for the others.
fn outcome(matches: &[RegisterMatch]) -> Outcome {
    let has = |verdict| matches.iter().any(|m| m.verdict() == verdict);
    if has(Verdict::Different) {
        Outcome::Bad
    } else if has(Verdict::NotPredicted) || has(Verdict::NotPublished) || !has(Verdict::Equal) {
        Outcome::Undecided
    } else {
        Outcome::Good
    }
}

/// Why the comparison is undecided.
fn reason(matches: &[RegisterMatch], kind: AttestationType, unpredicted: &[Name]) -> String {
    let unpublished: Vec<String> = matches
        .iter()
        .filter(|m| m.verdict() == Verdict::NotPublished)
        .map(|m| {
            Name::published(kind, m.register)
                .to_string()
                .replace("  ", " ")
        })
        .collect();
    if unpublished.is_empty() && !unpredicted.is_empty() {
        let names: Vec<String> = unpredicted.iter().map(Name::to_string).collect();
        format!(
            "says what is known of the image, but {} is not predicted for it",
            names.join(" and ")
        )
    } else if unpublished.is_empty() {
        "has registers that depend on more than the image".to_owned()
    } else {
        format!(
            "does not publish {}, so any value of it would be accepted",
            unpublished.join(" and ")
        )
    }
}

fn line(register: &RegisterMatch, kind: AttestationType, predicted: &Predicted) -> String {
    let name = Name::published(kind, register.register);
    let actual = register
        .actual
        .map(|value| value.to_string())
        .unwrap_or_default();
    let expected = || {
        let values: Vec<String> = register
            .expected
            .iter()
            .map(RegisterValue::to_string)
            .collect();
        values.join(" or ")
    };
    match register.verdict() {
        Verdict::Equal => format!("{name:#}  {actual}\n"),
        Verdict::NotPublished => format!("{name:#}  {actual} (not published)\n"),
        Verdict::NotPredicted => {
            format!(
                "{name:#}  published as {}, depends on more than the image\n",
                expected()
            )
        }
        Verdict::Different => {
            let events = predicted.registers().get(&name).copied();
            let bank = match name {
                Name::Pcr(_) => Bank::Sha256,
                Name::Mrtd | Name::Rtmr(_) => Bank::Sha384,
            };
            let events = events.map(|register| event_lines(register, bank));
            let events = events.unwrap_or_default();
            let expected = expected();
            format!(
                "{name:#}  differs\n  expected  {expected}\n  actual    {actual}\n  \
                 events behind the actual value:\n{events}"
            )
        }
    }
}
