//! The result for people.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Kind;
use super::comparison::{Comparison, Measured};
use super::registers::RegisterDifference;
use super::sections::SectionDifference;
use crate::measure::Name;
use crate::report::one_line;

/// Most lines for one section, and for one event of a register.
const MAX_DETAILS: usize = 20;
const MAX_CAUSES: usize = 5;

/// All that was found, and at the end what it means.
pub(super) fn report(comparison: &Comparison) -> String {
    let mut text = String::new();
    let images = &comparison.images;
    for facts in [&images.a, &images.b] {
        line(&mut text, 0, &facts.line());
    }
    if comparison.identical {
        line(
            &mut text,
            0,
            "identical: the files are the same byte for byte",
        );
        return text;
    }
    for section in &comparison.sections {
        section_lines(&mut text, section);
    }
    for partition in &comparison.partitions {
        let (name, change) = (&partition.name, partition.change);
        line(&mut text, 0, &format!("partition {name} {change}"));
        for detail in partition.lines() {
            line(&mut text, 1, &detail);
        }
        if let Some(covered_by) = &partition.covered_by {
            line(&mut text, 1, &format!("covered by {covered_by}"));
        }
    }
    for (name, register) in &comparison.registers {
        register_lines(&mut text, comparison, *name, register);
    }
    for sentence in &comparison.not_predicted {
        line(&mut text, 0, sentence);
    }
    for note in &comparison.notes {
        line(&mut text, 0, &format!("note: {note}"));
    }
    for reason in &comparison.unknown {
        line(&mut text, 0, &format!("not known: {reason}"));
    }
    verdict(&mut text, comparison);
    text
}

fn section_lines(text: &mut String, section: &SectionDifference) {
    let SectionDifference { name, change, .. } = section;
    let sizes = section.sizes();
    line(text, 0, &format!("section {name} {change} ({sizes})"));
    if *change != Kind::Changed {
        return;
    }
    let details = section.details();
    // The size alone was said already.
    let details: Vec<_> = details.iter().filter(|detail| **detail != sizes).collect();
    for detail in details.iter().take(MAX_DETAILS) {
        line(text, 1, detail);
    }
    more(text, 1, details.len(), MAX_DETAILS);
}

/// Every cause; of an RTMR, those that no PCR has.
fn register_lines(
    text: &mut String,
    comparison: &Comparison,
    name: Name,
    register: &RegisterDifference,
) {
    let is_rtmr = matches!(name, Name::Rtmr(_));
    let has = |other: &RegisterDifference, cause| other.causes.contains(cause);
    let pcrs = || {
        let registers = comparison.registers.iter();
        registers.filter(|(name, _)| matches!(name, Name::Pcr(_)))
    };
    let mut said_of = BTreeSet::new();
    for cause in &register.causes {
        if is_rtmr && pcrs().any(|(_, pcr)| has(pcr, cause)) {
            said_of.extend(
                pcrs()
                    .filter(|(_, pcr)| has(pcr, cause))
                    .map(|(name, _)| *name),
            );
            continue;
        }
        let event = &cause.event;
        for because in cause.because.iter().take(MAX_CAUSES) {
            line(text, 0, &format!("{name}: {event}: {because}"));
        }
        more(text, 0, cause.because.len(), MAX_CAUSES);
    }
    if !said_of.is_empty() {
        line(text, 0, &format!("{name}: as {}", list(&said_of)));
    }
}

fn verdict(text: &mut String, comparison: &Comparison) {
    let measured = &comparison.measured;
    let is_loud = measured.vtpm == Measured::Alike && measured.tdx != Measured::Differently;
    let what = if is_loud {
        format!(
            "BOTH MEASURE THE SAME, but they are not the same: {} do not cover",
            list(&comparison.equal_registers)
        )
    } else {
        "also differs, but is not measured:".to_owned()
    };
    not_covered_lines(text, &what, &comparison.not_covered);
    let is_pcr = |name: &Name| matches!(name, Name::Pcr(_));
    let is_rtmr = |name: &Name| matches!(name, Name::Rtmr(_));
    let vtpm = of_machine(comparison, measured.vtpm, is_pcr);
    let tdx = of_machine(comparison, measured.tdx, is_rtmr);
    line(text, 0, &format!("vTPM: {vtpm}"));
    line(text, 0, &format!("bare TDX: {tdx}"));
}

/// What it means for one kind of machine.
fn of_machine(
    comparison: &Comparison,
    measured: Measured,
    is_own: impl Fn(&Name) -> bool,
) -> String {
    let equal = comparison
        .equal_registers
        .iter()
        .filter(|name| is_own(name));
    let different = comparison.registers.keys().filter(|name| is_own(name));
    match measured {
        Measured::Alike => format!("equal: {}", list(equal)),
        Measured::Differently => format!("different: {}", list(different)),
        Measured::Unknown => match list(equal) {
            equal if equal.is_empty() => "could not tell whether they measure the same".to_owned(),
            equal => format!("could not tell whether they measure the same (equal: {equal})"),
        },
    }
}

fn list<'n>(names: impl IntoIterator<Item = &'n Name>) -> String {
    let names: Vec<String> = names.into_iter().map(Name::to_string).collect();
    names.join(", ")
}

fn not_covered_lines(text: &mut String, what: &str, not_covered: &[String]) {
    if not_covered.is_empty() {
        return;
    }
    line(text, 0, what);
    for difference in not_covered {
        line(text, 1, difference);
    }
}

fn more(text: &mut String, indent: usize, count: usize, shown: usize) {
    if let Some(more) = count.checked_sub(shown).filter(|more| *more > 0) {
        line(
            text,
            indent,
            &format!("… and {more} more (all with --json)"),
        );
    }
}

fn line(text: &mut String, indent: usize, line: &str) {
    let line = one_line(line);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:1$}{line}", "", indent * 2);
}
