//! Whose logs these are: those of a vTPM or of a bare TDX guest. Each is explained against the
//! prediction for its kind of machine, and cannot be against the other.
//!
//! I/O: none.

use super::{Expected, Explanation, Logs, RegisterExplanation};
use crate::tdx::TdxPrediction;
use crate::{Event, Prediction};

/// RTMR3, which is left to programs in the guest.
const RTMR3: u8 = 3;

/// Logs, by their kind of machine.
#[derive(Debug, Clone, Copy)]
pub enum MachineLogs<'a> {
    /// Of a machine with a TPM.
    Vtpm(VtpmLogs<'a>),
    /// Of a bare TDX guest.
    Tdx(TdxLogs<'a>),
}

/// Logs whose registers are PCRs.
#[derive(Debug, Clone, Copy)]
pub struct VtpmLogs<'a>(Logs<'a>);

/// Logs whose registers are MRTD and RTMRs: [`EventLog::is_of_tdx`](super::EventLog::is_of_tdx).
#[derive(Debug, Clone, Copy)]
pub struct TdxLogs<'a>(Logs<'a>);

impl<'a> Logs<'a> {
    /// Tells by the firmware's log whose logs these are.
    pub fn of_machine(self) -> MachineLogs<'a> {
        if self.firmware.is_of_tdx() {
            MachineLogs::Tdx(TdxLogs(self))
        } else {
            MachineLogs::Vtpm(VtpmLogs(self))
        }
    }

    /// Returns a register's name: `PCR 4`, `MRTD`, `RTMR1`.
    pub fn register_name(&self, register: u8) -> String {
        match (self.firmware.is_of_tdx(), register.checked_sub(1)) {
            (false, _) => format!("PCR {register}"),
            (true, None) => "MRTD".to_owned(),
            (true, Some(rtmr)) => format!("RTMR{rtmr}"),
        }
    }

    fn explain_events(&self, register: u8, events: &[Event]) -> RegisterExplanation {
        let expected: Vec<Expected<'_>> = events.iter().map(Expected::from).collect();
        self.explain_register(register, &expected)
    }
}

impl VtpmLogs<'_> {
    /// Compares the logs with what an image is predicted to measure to: every register that is
    /// predicted, and those that are predicted to be untouched.
    pub fn explain(&self, prediction: &Prediction) -> Explanation {
        let mut registers: Vec<u8> = prediction.registers.keys().copied().collect();
        registers.extend(Prediction::UNTOUCHED);
        registers.sort_unstable();
        registers.dedup();
        let explained = registers.into_iter().map(|register| {
            let predicted = prediction.registers.get(&register);
            let events = predicted.map_or(&[][..], |predicted| &predicted.events);
            self.0.explain_events(register, events)
        });
        Explanation {
            registers: explained.collect(),
        }
    }
}

impl TdxLogs<'_> {
    /// Compares the logs with what an image is predicted to measure to in a bare TDX guest: RTMR1
    /// and RTMR2, as far as they are predicted, and RTMR3, which must be untouched.
    ///
    /// MRTD is in no log, and RTMR0 depends on the host.
    pub fn explain(&self, prediction: &TdxPrediction) -> Explanation {
        let predicted = prediction.registers.iter();
        let predicted = predicted.map(|(rtmr, register)| (*rtmr, register.events.as_slice()));
        let untouched = (!prediction.registers.contains_key(&RTMR3)).then_some((RTMR3, &[][..]));
        let explained = predicted.chain(untouched).filter_map(|(rtmr, events)| {
            // The log counts from MRTD on.
            let register = rtmr.checked_add(1)?;
            Some(self.0.explain_events(register, events))
        });
        Explanation {
            registers: explained.collect(),
        }
    }
}
