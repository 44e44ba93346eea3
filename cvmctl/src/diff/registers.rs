//! Which registers differ: PCRs of a vTPM, RTMRs of a bare TDX guest.
//!
//! I/O: none.

use std::collections::{BTreeMap, BTreeSet};

use measurements::tdx::TdxPrediction;
use measurements::{Digests, Event, Prediction, Register};
use serde::Serialize;

use super::Pair;
use super::causes::{COMMAND_LINE, Cause, Known, causes};
use crate::measure::Name;

/// A register that differs.
#[derive(Debug, Serialize)]
pub(super) struct RegisterDifference {
    /// Its values in the SHA-256 bank, if it is a PCR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<Pair<String>>,
    /// Its values, if it is an RTMR; RTMR1 as of firmware that measures its separator into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha384: Option<Pair<String>>,
    /// Which events differ, and why.
    pub(super) causes: Vec<Cause>,
}

/// What the comparison of one kind of machine's registers says.
#[derive(Debug, Default)]
pub(super) struct Registers {
    pub(super) equal: Vec<Name>,
    pub(super) different: BTreeMap<Name, RegisterDifference>,
    /// Why it is not known of some registers.
    pub(super) unknown: Vec<String>,
}

/// PCRs that a boot of an image is known to extend.
const PCRS: [u8; 3] = [4, 9, 11];
/// RTMRs that an image leads to.
const RTMRS: [u8; 2] = [1, 2];

/// Compares two predictions for a vTPM.
pub(super) fn compare_pcrs(predictions: &Pair<Prediction>, known: Known<'_>) -> Registers {
    let Pair { a, b } = predictions;
    let predicted = a.registers.keys().chain(b.registers.keys()).copied();
    let indices: BTreeSet<u8> = predicted.chain(PCRS).collect();
    let mut registers = Registers::default();
    for index in indices {
        let (Some(of_a), Some(of_b)) = (a.value(index), b.value(index)) else {
            // What is measured is in no image: of equal UKIs it may still be equal.
            let reason = format!("PCR {index} depends on more than the images");
            registers.unknown.push(reason);
            continue;
        };
        let values = Pair { a: of_a, b: of_b };
        let events = |prediction: &'_ Prediction| events(prediction.registers.get(&index));
        let events = Pair {
            a: events(a),
            b: events(b),
        };
        registers.add(Name::Pcr(index), &values, &events, known);
    }
    registers
}

/// Compares two predictions for a bare TDX guest.
pub(super) fn compare_rtmrs(predictions: &Pair<TdxPrediction>, known: Known<'_>) -> Registers {
    let Pair { a, b } = predictions;
    let mut registers = Registers::default();
    for rtmr in RTMRS {
        let (of_a, of_b) = (a.registers.get(&rtmr), b.registers.get(&rtmr));
        let (Some(of_a), Some(of_b)) = (of_a, of_b) else {
            registers.unknown.extend(reasons(predictions, rtmr, known));
            continue;
        };
        let values = Pair {
            a: of_a.value,
            b: of_b.value,
        };
        let events = Pair {
            a: events(Some(of_a)),
            b: events(Some(of_b)),
        };
        registers.add(Name::Rtmr(rtmr), &values, &events, known);
    }
    registers
}

impl Registers {
    fn add(
        &mut self,
        name: Name,
        values: &Pair<Digests>,
        events: &Pair<Vec<Event>>,
        known: Known<'_>,
    ) {
        if values.a == values.b {
            self.equal.push(name);
            return;
        }
        let pair = |text: fn(&Digests) -> String| Pair {
            a: text(&values.a),
            b: text(&values.b),
        };
        let is_rtmr = matches!(name, Name::Rtmr(_));
        let difference = RegisterDifference {
            sha256: (!is_rtmr).then(|| pair(|value| value.sha256.to_string())),
            sha384: is_rtmr.then(|| pair(|value| value.sha384.to_string())),
            causes: causes(&events.a, &events.b, known),
        };
        self.different.insert(name, difference);
    }
}

/// The beginning of the note that says why an RTMR is not predicted.
pub(super) fn not_predicted(rtmr: u8) -> String {
    format!("RTMR{rtmr} is not predicted")
}

/// Says whether a note of a prediction is such a reason.
pub(super) fn is_reason(note: &str) -> bool {
    RTMRS
        .iter()
        .any(|rtmr| note.starts_with(&not_predicted(*rtmr)))
}

/// Why an RTMR is not known; once if the images have it in common.
fn reasons(predictions: &Pair<TdxPrediction>, rtmr: u8, known: Known<'_>) -> Vec<String> {
    let reason = |prediction: &TdxPrediction| -> Option<String> {
        let start = not_predicted(rtmr);
        let is_missing = !prediction.registers.contains_key(&rtmr);
        let mut notes = prediction.notes.iter();
        let note = notes.find(|note| note.starts_with(&start)).cloned();
        is_missing.then(|| note.unwrap_or(start))
    };
    match (reason(&predictions.a), reason(&predictions.b)) {
        (Some(a), Some(b)) if a == b => vec![a],
        (a, b) => {
            let facts = known.facts;
            let a = a.map(|reason| format!("{}: {reason}", facts.a.path));
            let b = b.map(|reason| format!("{}: {reason}", facts.b.path));
            a.into_iter().chain(b).collect()
        }
    }
}

fn events(register: Option<&Register>) -> Vec<Event> {
    register.map_or_else(Vec::new, |register| register.events.clone())
}

/// The command line that the kernel is predicted to get.
pub(super) fn command_line(prediction: &Prediction) -> Option<String> {
    let mut events = prediction.registers.get(&9)?.events.iter();
    let event = events.find(|event| event.subject == COMMAND_LINE)?;
    Some(event.detail.clone())
}
