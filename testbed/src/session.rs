//! One boot of an image: a machine and its TPM, and the questions that are asked of both.
//!
//! I/O: starts the machine and the TPM; files in the session's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use measurements::Prediction;
use testkit::console::phases::{Phase, failed_units, phases, reported_state};
use testkit::fetch::{fetch_insecure, local};
use testkit::machine::{Machine, Running, VARIABLES};
use testkit::memory::{FoundLog, find_event_log};
use testkit::tpm::Tpm;

use crate::registers::{Comparison, verified};

/// The port of the attestation server, which is also where `/cert` is.
pub(crate) const ATTESTATION_PORT: u16 = 7936;

/// The name under which the firmware's event log is kept.
pub(crate) const EVENT_LOG: &str = "eventlog.bin";

/// What outlasts a boot: TPM state and firmware variables.
#[derive(Clone, Debug)]
pub(crate) struct State(PathBuf);

impl State {
    /// Uses the state in `directory`, or begins one there.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).context("make the state directory")?;
        let state = Self(directory.to_owned());
        if !state.variables().exists() {
            fs::copy(VARIABLES, state.variables())
                .with_context(|| format!("copy the firmware's variables from {VARIABLES}"))?;
        }
        Ok(state)
    }

    /// The firmware's variables.
    pub(crate) fn variables(&self) -> PathBuf {
        self.0.join("variables.fd")
    }

    /// The TPM's state directory.
    pub(crate) fn tpm(&self) -> PathBuf {
        self.0.join("tpm")
    }
}

/// A machine that runs. The machine is dropped, and so ended, before its TPM.
#[derive(Debug)]
pub(crate) struct Session {
    /// The machine.
    pub(crate) machine: Running,
    /// Its TPM.
    pub(crate) tpm: Tpm,
}

impl Session {
    /// Starts `machine` with the TPM of `state`.
    pub(crate) fn start(machine: &Machine, state: &State, directory: &Path) -> Result<Self> {
        let tpm = Tpm::start(&state.tpm(), directory).context("start the software TPM")?;
        Self::start_with(machine, tpm, directory)
    }

    /// Starts `machine` with a TPM that runs already.
    pub(crate) fn start_with(machine: &Machine, tpm: Tpm, directory: &Path) -> Result<Self> {
        let machine = machine
            .start(directory, &tpm)
            .context("start the machine")?;
        Ok(Self { machine, tpm })
    }

    /// Waits until the boot has come to `phase`, and returns whether it has.
    pub(crate) fn wait_for_phase(&self, phase: Phase, timeout: Duration) -> bool {
        let console = self.machine.console();
        console
            .wait(timeout, |lines| {
                phases(lines)
                    .iter()
                    .any(|(begun, _)| *begun == phase)
                    .then_some(())
            })
            .is_some()
    }

    /// Waits until the image says that it has booted, and fails if a unit has not come up.
    pub(crate) fn wait_until_running(&self, timeout: Duration) -> Result<()> {
        wait_until_running(&self.machine, timeout)
    }

    /// Fetches `/cert`, again and again until it is there, and returns when it was.
    pub(crate) fn wait_for_certificate(&self, timeout: Duration) -> Result<Duration> {
        let port = self.machine.forward_tcp(ATTESTATION_PORT)?;
        let end = Instant::now() + timeout;
        loop {
            match fetch_insecure(local(port), "/cert", Duration::from_secs(10)) {
                Ok(body) => {
                    let text = String::from_utf8_lossy(&body);
                    ensure!(
                        text.contains("-----BEGIN CERTIFICATE-----"),
                        "/cert is no certificate: {text:.200}"
                    );
                    return Ok(self.machine.started().elapsed());
                }
                Err(error) => {
                    let gone = self.machine.ended().is_some();
                    if gone || Instant::now() >= end {
                        return Err(error).context("fetch /cert");
                    }
                }
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Reads the TPM's registers and compares them.
    pub(crate) fn compare(&self, prediction: &Prediction) -> Result<Comparison> {
        let pcrs = self
            .tpm
            .client()
            .read_pcrs()
            .context("read the registers")?;
        Ok(Comparison::new(prediction, &pcrs))
    }

    /// Takes the event log out of memory: the one that replays to what the TPM holds, in all
    /// registers that are verified.
    pub(crate) fn event_log(&self) -> Result<FoundLog> {
        let pcrs = self
            .tpm
            .client()
            .read_pcrs()
            .context("read the registers")?;
        let registers: Vec<u8> = verified().into_iter().collect();
        Ok(find_event_log(&self.machine, &pcrs, &registers)?)
    }

    /// How long each part of the boot took.
    pub(crate) fn phases(&self) -> Vec<(Phase, Duration)> {
        phases(&self.machine.console().lines())
    }
}

/// Waits until the image that `machine` boots says that it has booted, and fails if a unit has not
/// come up.
pub(crate) fn wait_until_running(machine: &Running, timeout: Duration) -> Result<()> {
    let console = machine.console();
    let report = console.wait(timeout, |lines| {
        let state = lines
            .iter()
            .rev()
            .find_map(|line| reported_state(&line.text));
        state.map(str::to_owned)
    });
    let Some(state) = report else {
        let how = match machine.ended() {
            Some(status) => format!("the machine ended ({status})"),
            None => format!("not booted within {} s", timeout.as_secs()),
        };
        bail!("no boot report: {how}");
    };
    let failed = failed_units(&console.lines());
    ensure!(failed.is_empty(), "failed units: {}", failed.join("; "));
    ensure!(state == "running", "the system says that it is {state}");
    Ok(())
}
