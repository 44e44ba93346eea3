//! Explains, in words, by which events a boot differs from what was predicted, and whether logs are
//! those of given registers.
//!
//! The logs are not trusted. What is said about an event's *digest* is as good as the log's replay,
//! which [`Logs::check`] compares with registers; what is said about its *data* is believed where
//! the digest bears it out, and introduced by "the log says" or "the log claims" where not.
//!
//! Left out: registers that depend on firmware or the machine (RTMR0 too, and MRTD).
//!
//! I/O: none.

mod align;
mod check;
mod command_line;
mod findings;
mod kind;
mod machine;
mod observed;

use crate::Digests;
use crate::reference::RegisterValue;

use super::{Bank, EventLog, UserspaceLog};
use align::{Step, align};
use kind::Kind;
use observed::Observed;

pub use check::{RegisterCheck, Replay};
pub use machine::{MachineLogs, TdxLogs, VtpmLogs};

/// What is known of a boot, and how to look at it.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    /// The firmware's log.
    pub firmware: &'a EventLog,
    /// systemd's log, which goes on where the firmware's ends.
    pub userspace: Option<&'a UserspaceLog>,
    /// The bank that is replayed and compared.
    pub bank: Bank,
    /// Command lines that the machine may have been booted with. Logs have only the digest: the one
    /// of them that has it is the one that was used.
    pub command_lines: &'a [String],
}

/// Every predicted register, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// In the order of their indices.
    pub registers: Vec<RegisterExplanation>,
}

/// One register, as it is predicted and as the logs replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterExplanation {
    /// The register's index in the log: of a PCR, or 2 to 4 for RTMR1 to RTMR3.
    pub register: u8,
    /// The predicted value.
    pub expected: RegisterValue,
    /// What the logs replay to; `None` if they have not this bank.
    pub actual: Option<RegisterValue>,
    /// What differs; empty if and only if the values are equal.
    pub findings: Vec<Finding>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of difference.
    pub kind: FindingKind,
    /// The difference in words: one line, escaped.
    pub text: String,
    /// The digest that was predicted; `None` if nothing was.
    pub expected: Option<RegisterValue>,
    /// The digest that was measured; `None` if nothing was.
    pub actual: Option<RegisterValue>,
}

/// Kinds of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The same thing was measured, with other contents.
    Changed,
    /// Something predicted was not measured.
    Missing,
    /// Something was measured that was not predicted.
    Added,
    /// There is no digest to compare: the bank is missing, or there are too many events.
    Unknown,
}

impl FindingKind {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Unknown => "unknown",
        }
    }
}

impl Explanation {
    /// Says whether every predicted register has its predicted value.
    pub fn is_equal(&self) -> bool {
        self.registers
            .iter()
            .all(|register| register.findings.is_empty())
    }
}

impl RegisterExplanation {
    /// Says whether the register is known to have another value than was predicted. What the logs
    /// do not replay to is neither equal nor different.
    pub fn is_different(&self) -> bool {
        self.actual.is_some_and(|actual| actual != self.expected)
    }
}

impl<'a> Logs<'a> {
    /// Replays a register: firmware's events, then userspace's. `None` if the logs have not this
    /// bank.
    pub fn replay(&self, register: u8) -> Option<RegisterValue> {
        let firmware = self.firmware.replay(register.into());
        self.extended_by_userspace(register)
            .fold(firmware, |value, event| value.extend(event.digests))
            .of(self.bank)
    }

    fn explain_register(&self, register: u8, expected: &[Expected<'_>]) -> RegisterExplanation {
        let observed = observed::of(self, register);
        let value = expected
            .iter()
            .fold(Digests::ZERO, |value, event| value.extend(event.digests));
        let findings = match align(expected, &observed, self.bank) {
            _ if !self.firmware.banks.contains(&self.bank) => {
                vec![findings::no_bank(self.bank)]
            }
            Some(steps) => self.findings(register, expected, &observed, &steps),
            None => vec![findings::too_many(expected.len(), observed.len())],
        };
        RegisterExplanation {
            register,
            expected: self.bank.pick(value),
            actual: self.replay(register),
            findings,
        }
    }

    fn findings(
        &self,
        register: u8,
        expected: &[Expected<'_>],
        observed: &[Observed<'_>],
        steps: &[Step],
    ) -> Vec<Finding> {
        let at = |e: usize, o: usize| expected.get(e).zip(observed.get(o));
        let found = steps.iter().filter_map(|step| match *step {
            Step::Equal => None,
            Step::Changed(e, o) => at(e, o).map(|(e, o)| findings::changed(self, e, o)),
            Step::Missing(e) => expected
                .get(e)
                .map(|e| findings::missing(self, register, e)),
            Step::Added(o) => observed.get(o).map(|o| findings::added(self, register, o)),
        });
        findings::without_repetition(found.collect())
    }
}

/// One event of a prediction.
#[derive(Debug, Clone)]
struct Expected<'a> {
    digests: Digests,
    kind: Kind,
    subject: &'a str,
    detail: &'a str,
}

impl<'a> From<&'a crate::Event> for Expected<'a> {
    fn from(event: &'a crate::Event) -> Self {
        Self {
            digests: event.digests,
            kind: Kind::of_subject(&event.subject),
            subject: &event.subject,
            detail: &event.detail,
        }
    }
}
