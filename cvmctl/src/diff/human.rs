//! The result for people.
//!
//! I/O: none.

use std::fmt::Write;

use super::Kind;
use super::comparison::{Comparison, Measured};
use super::sections::SectionDifference;

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
    for (index, register) in &comparison.registers {
        for cause in &register.causes {
            let event = &cause.event;
            for because in cause.because.iter().take(MAX_CAUSES) {
                line(&mut text, 0, &format!("PCR {index}: {event}: {because}"));
            }
            more(&mut text, 0, cause.because.len(), MAX_CAUSES);
        }
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

fn verdict(text: &mut String, comparison: &Comparison) {
    let not_covered = &comparison.not_covered;
    match comparison.measured {
        Measured::Differently => {
            let indices = comparison.registers.keys();
            let list: Vec<_> = indices.map(|index| format!("PCR {index}")).collect();
            not_covered_lines(text, "also differs, but is not measured:", not_covered);
            line(text, 0, &format!("different: {}", list.join(", ")));
        }
        Measured::Alike => {
            let what = "BOTH MEASURE THE SAME, but they are not the same: PCR 4, 9 and 11 do not \
                        cover";
            not_covered_lines(text, what, not_covered);
            line(text, 0, "equal: PCR 4, 9, 11");
        }
        Measured::Unknown => {
            not_covered_lines(text, "also differs, but is not measured:", not_covered);
            line(text, 0, "could not tell whether they measure the same");
        }
    }
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
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:1$}{line}", "", indent * 2);
}
