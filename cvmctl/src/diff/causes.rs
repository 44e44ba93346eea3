//! Why a register differs: which of its events, and what of the images is behind them.
//!
//! I/O: none.

use measurements::Event;
use measurements::explain::{self, Difference};
use serde::Serialize;

use super::partitions::PartitionDifference;
use super::sections::SectionDifference;
use super::text::{Change, one_line, word_changes};
use super::{Facts, Kind, Pair};

/// An event that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    /// What is measured.
    pub(super) event: String,
    /// What has changed in it.
    pub(super) because: Vec<String>,
}

/// What is known to differ, to explain registers by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) facts: &'k Pair<Facts>,
    pub(super) sections: &'k [SectionDifference],
    pub(super) partitions: &'k [PartitionDifference],
}

/// As [`measurements::predict()`] calls it.
pub(super) const COMMAND_LINE: &str = "kernel command line";
/// As [`measurements::tdx::predict()`] calls it.
pub(super) const PARTITION_TABLE: &str = "partition table";

/// Sections that end up in the initrd that the kernel gets, in that order.
const IN_INITRD: [&str; 5] = [".ucode", ".initrd", ".pcrsig", ".pcrpkey", ".osrel"];

/// Explains by which events a register of the first image differs from the second's.
pub(super) fn causes(a: &[Event], b: &[Event], known: Known<'_>) -> Vec<Cause> {
    let differences = explain::event_differences(a, b);
    let causes = differences.iter().map(|event| cause(event, known));
    causes.collect()
}

fn cause(event: &Difference, known: Known<'_>) -> Cause {
    match event {
        Difference::Changed { expected, actual } => Cause {
            event: actual.subject.clone(),
            because: reasons(expected, actual, known),
        },
        Difference::Missing { expected } => Cause {
            event: expected.subject.clone(),
            because: vec!["only the first measures it".to_owned()],
        },
        Difference::Added { actual } => Cause {
            event: actual.subject.clone(),
            because: vec!["only the second measures it".to_owned()],
        },
    }
}

fn reasons(a: &Event, b: &Event, known: Known<'_>) -> Vec<String> {
    let Known {
        facts, sections, ..
    } = known;
    let of = |name: &str| sections.iter().find(|section| section.name == name);
    let subject = a.subject.as_str();
    let reasons = match subject {
        COMMAND_LINE => {
            let words = word_changes(&facts.a.command_line, &facts.b.command_line);
            words.iter().map(Change::line).collect()
        }
        PARTITION_TABLE => table_reasons(known.partitions),
        "initrd" => IN_INITRD
            .iter()
            .filter_map(|name| of(name))
            .flat_map(named)
            .collect(),
        "Authenticode digest of the UKI" if sections.is_empty() => {
            vec!["its headers or its certificates' size; all sections are equal".to_owned()]
        }
        "Authenticode digest of the UKI" => {
            let names: Vec<_> = sections.iter().map(|s| s.name.as_str()).collect();
            vec![names.join(", ")]
        }
        "Authenticode digest of the boot loader" => {
            match (facts.a.programs.first(), facts.b.programs.first()) {
                (Some(a), Some(b)) if a != b => vec![one_line(&format!("{a} → {b}"))],
                _ => vec!["another build of it".to_owned()],
            }
        }
        other => {
            // `.linux: data`, and the kernel's own digest.
            let name = other.split(": ").next().unwrap_or(other);
            let name = name.strip_prefix("Authenticode digest of ").unwrap_or(name);
            of(name).map(SectionDifference::details).unwrap_or_default()
        }
    };
    if reasons.is_empty() {
        vec![one_line(&format!("{a} → {b}"))]
    } else {
        reasons
    }
}

/// Entries that differ; what the rest of the table is, if none does.
fn table_reasons(partitions: &[PartitionDifference]) -> Vec<String> {
    let changed = partitions.iter().filter(|p| !p.entry.is_empty());
    let reasons: Vec<_> = changed
        .map(|partition| {
            let (name, entry) = (&partition.name, partition.entry.join(", "));
            match partition.change {
                Kind::Changed => format!("partition {name}: {entry}"),
                change => format!("partition {name} {change}, {entry}"),
            }
        })
        .collect();
    if reasons.is_empty() {
        let rest = "its header (disk GUID, size of the disk) or its entries' attributes";
        return vec![rest.to_owned()];
    }
    reasons
}

fn named(section: &SectionDifference) -> Vec<String> {
    let details = section.details();
    // Files are named by their paths already.
    if section.initrd.is_some() {
        return details;
    }
    let name = &section.name;
    details
        .iter()
        .map(|line| format!("{name}: {line}"))
        .collect()
}
