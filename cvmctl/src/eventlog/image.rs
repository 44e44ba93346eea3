//! The logs, compared with what an image is predicted to measure to.
//!
//! I/O: reads the image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use anyhow::{Context, ensure};
use measurements::event_log::explain::{
    Explanation, Logs, MachineLogs, RegisterCheck, RegisterExplanation, Replay, TdxLogs, VtpmLogs,
};
use measurements::predict::pcr11;
use measurements::tdx::{self, SeparatorRegister};
use measurements::{Image, Prediction};

use super::request::Request;
use crate::measure;

/// Registers that a prediction must have: without them, it says little.
const PCRS: [u8; 3] = [4, 9, 11];
/// RTMR1 and RTMR2, as logs count.
const RTMRS: [u8; 2] = [RTMR1, 3];
const RTMR1: u8 = 2;

/// Registers that no image leads to, as logs count.
const NOT_OF_THE_IMAGE: [(u8, &str); 2] = [
    (
        0,
        "is in no log: it is the firmware's (cvmctl measure --firmware)",
    ),
    (
        1,
        "is not predicted: the host decides on it (memory, ACPI tables, variables)",
    ),
];

/// An image, and how the logs differ from it.
pub(super) struct Compared {
    pub(super) explanation: Explanation,
    /// What is to be known about the prediction.
    pub(super) notes: Vec<String>,
    /// The register with the separator of a bare TDX guest's firmware, if the log tells.
    pub(super) separator: Option<SeparatorRegister>,
    /// Registers that are not compared, and why.
    pub(super) not_predicted: BTreeMap<u8, &'static str>,
    /// Registers that the image leads to, as logs count.
    predicted: BTreeSet<u8>,
    /// Whether all is predicted that an image can lead to.
    pub(super) is_complete: bool,
}

/// Predicts what the image measures to in the machine that the logs are of, and compares.
pub(super) fn compare(logs: Logs<'_>, path: &Path, request: &Request) -> anyhow::Result<Compared> {
    let mut image = measure::open(path, &request.assumptions)?;
    match logs.of_machine() {
        MachineLogs::Vtpm(logs) => {
            let mut prediction = measure::predict(&mut image, path)?;
            add_phases(&mut prediction, &request.phases);
            Ok(Compared::with_vtpm(logs, prediction))
        }
        MachineLogs::Tdx(tdx) => {
            ensure!(
                request.phases.is_empty(),
                "--phases is for PCR 11 of a vTPM; {} is the log of a bare TDX guest",
                request.log.display()
            );
            let has_rtmr1 = logs.firmware.extended(RTMR1.into()).next().is_some();
            let mut compared = Compared::with_tdx(tdx, &mut image, path)?;
            compared.separator = compared.separator.filter(|_| has_rtmr1);
            Ok(compared)
        }
    }
}

fn add_phases(prediction: &mut Prediction, phases: &[String]) {
    if !phases.is_empty()
        && let Some(register) = prediction.registers.remove(&pcr11::INDEX)
    {
        let phases = phases.iter().map(String::as_str);
        let register = pcr11::after_phases(register, phases);
        prediction.registers.insert(pcr11::INDEX, register);
    }
}

impl Compared {
    fn with_vtpm(logs: VtpmLogs<'_>, prediction: Prediction) -> Self {
        let explanation = logs.explain(&prediction);
        let predicted = prediction.registers.keys().copied().collect();
        Self::new(explanation, predicted, prediction.notes, &PCRS)
    }

    /// Takes the generation of firmware that fits better; of two that fit alike, the newer.
    fn with_tdx(logs: TdxLogs<'_>, image: &mut Image<File>, path: &Path) -> anyhow::Result<Self> {
        let mut compare = |separator| -> anyhow::Result<Self> {
            let prediction = tdx::predict(image, separator).with_context(|| {
                format!("predict the measurements of {} on TDX", path.display())
            })?;
            let explanation = logs.explain(&prediction);
            let predicted = prediction.registers.keys();
            // Logs count from MRTD on.
            let predicted = predicted.filter_map(|rtmr| rtmr.checked_add(1)).collect();
            let mut compared = Self::new(explanation, predicted, prediction.notes, &RTMRS);
            compared.separator = Some(separator);
            compared.not_predicted.extend(NOT_OF_THE_IMAGE);
            Ok(compared)
        };
        let mut newer = compare(SeparatorRegister::Rtmr1)?;
        if newer.differences(RTMR1) == Some(0) {
            return Ok(newer);
        }
        let older = compare(SeparatorRegister::Rtmr0)?;
        match (newer.differences(RTMR1), older.differences(RTMR1)) {
            (Some(of_newer), Some(of_older)) if of_older < of_newer => return Ok(older),
            (Some(of_newer), Some(of_older)) if of_newer < of_older => {}
            _ => newer.separator = None,
        }
        Ok(newer)
    }

    /// Registers with another value than predicted.
    pub(super) fn different(&self) -> impl Iterator<Item = &RegisterExplanation> {
        let registers = self.explanation.registers.iter();
        registers.filter(|register| register.is_different())
    }

    /// Registers that the image leads to and that no given value proves: of them, only the log
    /// says what they are.
    pub(super) fn unproven<'c>(
        &'c self,
        checks: &'c [RegisterCheck],
    ) -> impl Iterator<Item = u8> + 'c {
        let registers = self.predicted.iter().copied();
        registers.filter(|register| !is_proven(checks, *register))
    }

    fn new(
        explanation: Explanation,
        predicted: BTreeSet<u8>,
        notes: Vec<String>,
        expected: &[u8],
    ) -> Self {
        let is_compared = |register: &u8| {
            explanation
                .registers
                .iter()
                .any(|r| r.register == *register)
        };
        let missing = expected.iter().filter(|register| !is_compared(register));
        let not_predicted: BTreeMap<u8, &str> = missing
            .map(|register| (*register, "is not predicted for this image"))
            .collect();
        Self {
            is_complete: not_predicted.is_empty(),
            explanation,
            predicted,
            notes,
            separator: None,
            not_predicted,
        }
    }

    /// How many differences a register has; `None` if it is not predicted.
    fn differences(&self, register: u8) -> Option<usize> {
        let mut registers = self.explanation.registers.iter();
        let register = registers.find(|explained| explained.register == register)?;
        Some(register.findings.len())
    }
}

/// Says whether the logs replay to a value of this register that was given.
pub(super) fn is_proven(checks: &[RegisterCheck], register: u8) -> bool {
    let mut checks = checks.iter().filter(|check| check.register == register);
    checks.any(|check| matches!(check.replay, Replay::Equal | Replay::EqualWithPhases(_)))
}
