//! Are these the logs of these registers?
//!
//! I/O: none.

use std::collections::BTreeMap;

use super::super::{BankDigests, UserspaceEvent, UserspaceLog, UserspaceRegister};
use super::Logs;
use crate::Digests;
use crate::predict::pcr11::{self, PHASES};
use crate::reference::RegisterValue;

/// Extended by Linux's IMA, which has a log of its own.
const IMA: u8 = 10;
/// Set by the TPM and extended by others than firmware: debugging, dynamic launch, applications.
const NOT_OF_BOOT: std::ops::RangeInclusive<u8> = 16..=23;

/// One register that was given, beside what the logs replay to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterCheck {
    /// The register's index.
    pub register: u8,
    /// The given values, of which one is enough.
    pub given: Vec<RegisterValue>,
    /// What the logs replay to; `None` if they have not this bank.
    pub replayed: Option<RegisterValue>,
    /// How the two compare.
    pub replay: Replay,
}

/// How a register compares with the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The logs replay to the register: their digests are what was extended, all of it.
    Equal,
    /// The firmware's log, continued by these phases of systemd-pcrphase, replays to the register.
    EqualWithPhases(&'static [&'static str]),
    /// The logs are not of this register, or not whole.
    Different,
    /// What is extended into the register is not in these logs.
    NotLogged,
    /// The logs have not this bank for the register, and replay to nothing.
    Unknown,
}

impl Logs<'_> {
    /// Compares each given register with the replay of the logs.
    pub fn check(&self, registers: &BTreeMap<u8, Vec<RegisterValue>>) -> Vec<RegisterCheck> {
        let check = |(register, given): (&u8, &Vec<RegisterValue>)| RegisterCheck {
            register: *register,
            given: given.clone(),
            replayed: self.replay(*register),
            replay: self.check_register(*register, given),
        };
        registers.iter().map(check).collect()
    }

    fn check_register(&self, register: u8, given: &[RegisterValue]) -> Replay {
        let is_given = |logs: &Logs<'_>| logs.replay(register).is_some_and(|v| given.contains(&v));
        if is_given(self) {
            return Replay::Equal;
        }
        let has_events = self.firmware.extended(register.into()).next().is_some();
        let is_of_tdx = self.firmware.is_of_tdx();
        // MRTD is not extended by what it measures.
        let is_elsewhere = register == IMA || NOT_OF_BOOT.contains(&register);
        if !has_events && (is_elsewhere || is_of_tdx && register == 0) {
            return Replay::NotLogged;
        }
        if register == pcr11::INDEX && self.userspace.is_none() && !is_of_tdx {
            for (count, _) in PHASES.iter().enumerate() {
                let Some(phases) = PHASES.get(..=count) else {
                    continue;
                };
                let userspace = UserspaceLog::of_phases(phases);
                let continued = Logs {
                    userspace: Some(&userspace),
                    ..*self
                };
                if is_given(&continued) {
                    return Replay::EqualWithPhases(phases);
                }
            }
        }
        match self.replay(register) {
            Some(_) => Replay::Different,
            None => Replay::Unknown,
        }
    }
}

impl UserspaceLog {
    /// The log that systemd-pcrphase would have written of these phases.
    pub fn of_phases(phases: &[&str]) -> Self {
        let event = |phase: &&str| UserspaceEvent {
            register: UserspaceRegister::Pcr(pcr11::INDEX),
            digests: BankDigests::from(Digests::of(phase.as_bytes())),
            text: (*phase).to_owned(),
            kind: "phase".to_owned(),
        };
        Self {
            events: phases.iter().map(event).collect(),
        }
    }
}
