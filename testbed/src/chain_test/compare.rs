//! What was predicted of a chain, and what the TPM got.
//!
//! I/O: reads the disk's partition table.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use measurements::event_log::event_type::EV_EFI_GPT_EVENT;
use measurements::event_log::{EventLog, LoggedEvent};
use measurements::tdx::gpt_event;
use measurements::{Digest, Digests, Event, Prediction};
use serde::Serialize;
use testkit::tamper::gpt;
use testkit::tpm::extends::Extend;
use testkit::tpm::{self, Pcrs};

use crate::registers::verified;

/// The register of the partition table: TCG PC Client Platform Firmware Profile, on PCR\[5\].
const PARTITION_TABLE: u8 = 5;

/// Everything that is known of what a machine measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// The registers, of the TPM itself.
    pub(super) sha256: Pcrs,
    pub(super) sha384: tpm::Bank<48>,
    /// The commands that led to them.
    pub(super) extends: Vec<Extend>,
    /// The firmware's event log, if one was found that leads to them.
    pub(super) log: Option<EventLog>,
}

/// One register in both banks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    register: u8,
    /// `None` if it depends on the machine.
    expected: Option<Digests>,
    actual: Digests,
}

impl Measured {
    /// All registers that are verified.
    pub(super) fn rows(&self, prediction: &Prediction) -> Vec<Row> {
        let row = |register| Row {
            register,
            expected: prediction.value(register),
            actual: Digests {
                sha256: self.sha256.value(register),
                sha384: self.sha384.value(register),
            },
        };
        verified().into_iter().map(row).collect()
    }

    /// Fails if a register is not as predicted, in either bank, with the first event that differs.
    pub(super) fn ensure_registers(&self, prediction: &Prediction) -> Result<()> {
        let mut failures = String::new();
        for row in self.rows(prediction) {
            let Some(expected) = row.expected else {
                continue;
            };
            let (register, actual) = (row.register, row.actual);
            if expected == actual {
                continue;
            }
            let _ = write!(failures, "\n  PCR {register}");
            let banks = [
                (
                    "SHA-256",
                    expected.sha256.to_string(),
                    actual.sha256.to_string(),
                ),
                (
                    "SHA-384",
                    expected.sha384.to_string(),
                    actual.sha384.to_string(),
                ),
            ];
            for (bank, expected, actual) in banks {
                if expected != actual {
                    let _ = write!(failures, "\n    {bank}: predicted {expected}, is {actual}");
                }
            }
            let difference = self.first_difference(prediction, register);
            let difference = difference.unwrap_or_else(|| "none in what it was sent".to_owned());
            let _ = write!(failures, "\n    first different event: {difference}");
        }
        ensure!(failures.is_empty(), "registers differ:{failures}");
        Ok(())
    }

    /// Fails if the commands that the TPM got are not the predicted events and nothing else, in
    /// both banks, or do not lead to its registers.
    pub(super) fn ensure_wire(&self, prediction: &Prediction) -> Result<()> {
        for register in verified().into_iter().chain([PARTITION_TABLE]) {
            let replayed = self.replay(register)?;
            let (sha256, sha384) = (self.sha256.value(register), self.sha384.value(register));
            let actual = Digests { sha256, sha384 };
            ensure!(
                replayed == actual,
                "PCR {register}: what was extended leads to {}, it is {}",
                replayed.sha256,
                actual.sha256
            );
            if prediction.value(register).is_none() {
                continue;
            }
            if let Some(difference) = self.first_difference(prediction, register) {
                bail!("PCR {register}: {difference}");
            }
        }
        Ok(())
    }

    /// What the commands lead to; each must have extended both banks.
    fn replay(&self, register: u8) -> Result<Digests> {
        let mut value = Digests::ZERO;
        for extend in self.of(register) {
            let digests = digests(extend);
            let digests =
                digests.with_context(|| format!("PCR {register}: not extended in both banks"))?;
            value = value.extend(digests);
        }
        Ok(value)
    }

    fn of(&self, register: u8) -> impl Iterator<Item = &Extend> {
        let extends = self.extends.iter();
        extends.filter(move |extend| extend.register == register)
    }

    /// The first event of a register that was not extended as predicted, in words.
    fn first_difference(&self, prediction: &Prediction, register: u8) -> Option<String> {
        let predicted = prediction.registers.get(&register);
        let predicted = predicted.map_or(&[][..], |predicted| &predicted.events);
        let extended: Vec<_> = self.of(register).collect();
        let count = predicted.len().max(extended.len());
        (0..count).find_map(|number| {
            let (expected, actual) = (predicted.get(number), extended.get(number).copied());
            let is_equal = match (expected, actual) {
                (Some(expected), Some(actual)) => digests(actual) == Some(expected.digests),
                _ => false,
            };
            let actual = actual.map(|actual| self.describe(register, number, actual));
            (!is_equal).then(|| difference(number, expected, actual))
        })
    }

    /// What was extended; and what the firmware calls it, if its log has it in this place.
    fn describe(&self, register: u8, number: usize, extend: &Extend) -> String {
        let sha256 = extend.sha256.unwrap_or(Digest::ZERO);
        let sha384 = extend.sha384.unwrap_or(Digest::ZERO);
        let mut text = format!("{sha256} (SHA-384 {sha384})");
        let log = self.log.as_ref();
        let logged = log.and_then(|log| log.extended(register.into()).nth(number));
        if let Some(event) = logged.filter(|event| event.digests.sha256 == extend.sha256) {
            let _ = write!(text, ", logged as {:.200}", event.describe());
        }
        text
    }
}

fn digests(extend: &Extend) -> Option<Digests> {
    Some(Digests {
        sha256: extend.sha256?,
        sha384: extend.sha384?,
    })
}

fn difference(number: usize, expected: Option<&Event>, actual: Option<String>) -> String {
    let expected = expected.map_or("nothing".to_owned(), |event| {
        let Digests { sha256, sha384 } = event.digests;
        format!("{event:.200}: {sha256} (SHA-384 {sha384})")
    });
    let actual = actual.unwrap_or_else(|| "nothing".to_owned());
    format!("event {number}: predicted {expected}; extended {actual}")
}

/// Fails unless firmware measured the table of this disk as it is predicted for TDX, in both banks.
pub(super) fn ensure_partition_table(disk: &Path, measured: &Measured) -> Result<()> {
    let (header, entries) = gpt::table(disk).context("read the partition table")?;
    let predicted = gpt_event(&header, &entries).context("predict the partition table's event")?;
    let log = measured.log.as_ref().context("there is no event log")?;
    let is_meant = |event: &&LoggedEvent| {
        event.pcr == u32::from(PARTITION_TABLE) && event.event_type == EV_EFI_GPT_EVENT
    };
    let logged: Vec<_> = log.events.iter().filter(is_meant).collect();
    let [logged] = logged[..] else {
        bail!(
            "one partition table is predicted, {} were measured",
            logged.len()
        );
    };
    ensure!(
        logged.data == predicted,
        "the disk has a partition table of {} bytes, another one of {} was measured",
        predicted.len(),
        logged.data.len()
    );
    let expected = Some(Digests::of(&predicted));
    ensure!(
        measured
            .of(PARTITION_TABLE)
            .any(|extend| digests(extend) == expected),
        "no event of PCR {PARTITION_TABLE} has the digests of the table"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use measurements::Register;
    use measurements::event_log::event_type::EV_IPL;
    use measurements::event_log::{Bank, BankDigests};

    use super::*;

    fn prediction(register: u8, words: &[&str]) -> Prediction {
        let event = |word: &&str| Event::new(Digests::of(word.as_bytes()), *word);
        let events = words.iter().map(event).collect();
        Prediction {
            registers: BTreeMap::from([(register, Register::from_events(events))]),
            notes: Vec::new(),
        }
    }

    /// A machine that extended these words into a register, and has the values that these lead to.
    fn measured(register: u8, words: &[&str], held: &[&str]) -> Measured {
        let extends = words.iter().map(|word| {
            let Digests { sha256, sha384 } = Digests::of(word.as_bytes());
            Extend {
                register,
                sha256: Some(sha256),
                sha384: Some(sha384),
            }
        });
        let value = prediction(register, held).value(register).unwrap();
        Measured {
            sha256: [(register, value.sha256)].into_iter().collect(),
            sha384: [(register, value.sha384)].into_iter().collect(),
            extends: extends.collect(),
            log: None,
        }
    }

    fn ok(predicted: &[&str], extended: &[&str]) -> (Option<String>, Option<String>) {
        let prediction = prediction(9, predicted);
        let measured = measured(9, extended, extended);
        let text = |result: Result<()>| result.err().map(|error| error.to_string());
        (
            text(measured.ensure_registers(&prediction)),
            text(measured.ensure_wire(&prediction)),
        )
    }

    #[test]
    fn what_was_predicted_passes() {
        assert_eq!(ok(&["text", "initrd"], &["text", "initrd"]), (None, None));
        assert_eq!(ok(&[], &[]), (None, None));
    }

    #[test]
    fn register_and_first_difference_are_named() {
        let (registers, wire) = ok(&["text", "initrd"], &["text", "other"]);
        let registers = registers.unwrap();
        assert!(
            registers.contains("PCR 9\n    SHA-256: predicted"),
            "{registers}"
        );
        assert!(registers.contains("SHA-384: predicted"), "{registers}");
        assert!(
            registers.contains("event 1: predicted initrd: "),
            "{registers}"
        );
        assert!(
            wire.unwrap()
                .starts_with("PCR 9: event 1: predicted initrd")
        );
        let (_, missing) = ok(&["text", "initrd"], &["text"]);
        assert!(missing.unwrap().ends_with("; extended nothing"));
        let (_, added) = ok(&["text"], &["text", "initrd"]);
        assert!(
            added
                .unwrap()
                .contains("event 1: predicted nothing; extended ")
        );
    }

    #[test]
    fn register_that_no_command_explains_fails() {
        let prediction = prediction(9, &["text"]);
        let hidden = measured(9, &["text"], &["text", "hidden"]);
        assert!(hidden.ensure_wire(&prediction).is_err());
        let mut one_bank = measured(9, &["text"], &["text"]);
        one_bank.extends[0].sha384 = None;
        let error = one_bank.ensure_wire(&prediction).unwrap_err();
        assert_eq!(error.to_string(), "PCR 9: not extended in both banks");
    }

    #[test]
    fn untouched_register_that_was_extended_fails() {
        let prediction = prediction(9, &[]);
        let measured = measured(13, &["extension"], &["extension"]);
        assert!(measured.ensure_registers(&prediction).is_err());
        assert!(measured.ensure_wire(&prediction).is_err());
    }

    #[test]
    fn difference_in_one_bank_alone_fails() {
        let mut prediction = prediction(9, &["text"]);
        let register = prediction.registers.get_mut(&9).unwrap();
        register.value.sha384 = Digest([7; 48]);
        let measured = measured(9, &["text"], &["text"]);
        let error = measured
            .ensure_registers(&prediction)
            .unwrap_err()
            .to_string();
        assert!(error.contains("SHA-384: predicted 0707"), "{error}");
        assert!(!error.contains("SHA-256: predicted"), "{error}");
    }

    #[test]
    fn unforeseen_event_is_named_by_its_log() {
        let prediction = prediction(9, &[]);
        let mut measured = measured(9, &["text"], &["text"]);
        let Digests { sha256, sha384 } = Digests::of(b"text");
        let event = LoggedEvent {
            pcr: 9,
            event_type: EV_IPL,
            digests: BankDigests {
                sha256: Some(sha256),
                sha384: Some(sha384),
            },
            data: b"text".to_vec(),
        };
        measured.log = Some(EventLog {
            banks: Bank::ALL.to_vec(),
            events: vec![event],
        });
        let words = measured.first_difference(&prediction, 9).unwrap();
        assert!(words.contains("extended 982d9e3e"), "{words}");
        assert!(words.ends_with(", logged as \"text\""), "{words}");
    }
}
