//! Which registers differ, and which of the differences is the cause.
//!
//! I/O: none.

use std::collections::{BTreeMap, BTreeSet};

use measurements::explain::{self, Difference};
use measurements::{Event, Prediction};
use serde::Serialize;

use super::sections::SectionDifference;
use super::text::{Change, one_line, word_changes};
use super::{Facts, Pair};

/// A register that differs.
#[derive(Debug, Serialize)]
pub(super) struct RegisterDifference {
    /// Its values in the SHA-256 bank; `None` if it is not predicted.
    pub(super) sha256: Pair<Option<String>>,
    /// Which events differ, and why.
    pub(super) causes: Vec<Cause>,
}

/// An event that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    /// What is measured.
    pub(super) event: String,
    /// What has changed in it.
    pub(super) because: Vec<String>,
}

/// What the comparison of registers says.
#[derive(Debug)]
pub(super) struct Registers {
    /// Those that differ, by index.
    pub(super) different: BTreeMap<u8, RegisterDifference>,
    /// Those of which it is not known, because they depend on more than an image.
    pub(super) unknown: Vec<u8>,
}

/// Registers that a boot of an image is known to extend.
const EXPECTED: [u8; 3] = [4, 9, 11];

/// Compares two predictions, and explains the differences by those of the sections.
pub(super) fn compare(
    predictions: &Pair<Prediction>,
    facts: &Pair<Facts>,
    sections: &[SectionDifference],
) -> Registers {
    let Pair { a, b } = predictions;
    let events = explain::differences(a, b);
    let indices: BTreeSet<u8> = a
        .registers
        .keys()
        .chain(b.registers.keys())
        .copied()
        .collect();
    let indices: BTreeSet<u8> = indices.into_iter().chain(EXPECTED).collect();
    let mut different = BTreeMap::new();
    let mut unknown = Vec::new();
    for index in indices {
        match (a.value(index), b.value(index)) {
            (Some(a), Some(b)) if a == b => {}
            (of_a, of_b) if of_a.is_some() && of_b.is_some() => {
                let own = events.iter().filter(|(register, _)| *register == index);
                let cause = |(_, event): &(u8, Difference)| cause(event, facts, sections);
                different.insert(
                    index,
                    RegisterDifference {
                        sha256: Pair {
                            a: of_a.map(|value| value.sha256.to_string()),
                            b: of_b.map(|value| value.sha256.to_string()),
                        },
                        causes: own.map(cause).collect(),
                    },
                );
            }
            // What is measured is in no image: of equal UKIs it may still be equal.
            _ => unknown.push(index),
        }
    }
    Registers { different, unknown }
}

/// The command line that the kernel is predicted to get.
pub(super) fn command_line(prediction: &Prediction) -> Option<String> {
    let mut events = prediction.registers.get(&9)?.events.iter();
    let event = events.find(|event| event.subject == COMMAND_LINE)?;
    Some(event.detail.clone())
}

fn cause(event: &Difference, facts: &Pair<Facts>, sections: &[SectionDifference]) -> Cause {
    match event {
        Difference::Changed { expected, actual } => Cause {
            event: actual.subject.clone(),
            because: reasons(expected, actual, facts, sections),
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

/// As [`measurements::predict()`] calls it.
const COMMAND_LINE: &str = "kernel command line";

/// Sections that end up in the initrd that the kernel gets, in that order.
const IN_INITRD: [&str; 5] = [".ucode", ".initrd", ".pcrsig", ".pcrpkey", ".osrel"];

fn reasons(
    a: &Event,
    b: &Event,
    facts: &Pair<Facts>,
    sections: &[SectionDifference],
) -> Vec<String> {
    let of = |name: &str| sections.iter().find(|section| section.name == name);
    let subject = a.subject.as_str();
    let reasons = match subject {
        COMMAND_LINE => {
            let words = word_changes(&facts.a.command_line, &facts.b.command_line);
            words.iter().map(Change::line).collect()
        }
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
