//! One chain: made, predicted, booted until the kernel takes over, compared.
//!
//! I/O: makes images, starts a machine, keeps its event log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use measurements::{Image, Prediction, Sha256Digest};
use serde_json::json;
use testkit::machine::{Accelerator, Machine};
use testkit::memory::FoundLog;

use super::Chain;
use super::compare::{Measured, ensure_partition_table};
use super::layout::Layout;
use super::report::Outcome;
use crate::registers::ensure_same_events;
use crate::session::{EVENT_LOG, Session, State};
use crate::signals::Signals;
use crate::work::fresh_directory;

/// What firmware measures to PCR 5 when the kernel has taken over: TCG PC Client Platform Firmware
/// Profile, table of EV_EFI_ACTION strings. Nothing before the kernel's own start follows.
const HANDED_OVER: &[u8] = b"Exit Boot Services Returned with Success";
/// How often signals are looked at.
const POLL: Duration = Duration::from_secs(1);
/// The registers that the kernel image and its surroundings are measured into.
const PREDICTED: [u8; 3] = [4, 9, 11];
/// Begins the note that says why PCR 9 is not predicted.
const NOT_PREDICTED: &str = "PCR 9 is not predicted";

/// What all chains share.
#[derive(Debug)]
pub(super) struct Context {
    /// The kernel that is booted.
    pub(super) kernel: PathBuf,
    /// For logs and scratch files.
    pub(super) directory: PathBuf,
    pub(super) accelerator: Accelerator,
    pub(super) memory: u32,
    pub(super) cpus: u32,
    pub(super) timeout: Duration,
    pub(super) signals: Signals,
}

/// Boots one chain and makes its checks; an error means that it could not be done.
pub(super) fn run(chain: &Chain, context: &Context, outcome: &mut Outcome) -> Result<()> {
    let name = format!("chain-{}", chain.name.replace('/', "-"));
    let directory = fresh_directory(&context.directory, &name)?;
    let scratch = fresh_directory(&directory, "image")?;
    let layout = (chain.variant.layout)();
    let disk = layout.make(&chain.folder, &context.kernel, &scratch)?;
    let prediction = predict(&layout, &disk, outcome)?;
    let completeness = ensure_predicted(chain, &prediction);
    outcome.checks.note("predicted", completeness);

    let state = State::in_directory(&directory.join("state"))?;
    let machine = Machine {
        memory: context.memory,
        cpus: context.cpus,
        accelerator: context.accelerator,
        ..Machine::new(disk.clone(), state.variables())
    };
    let session = Session::start(&machine, &state, &directory)?;
    outcome.checks.watch(&session);
    let taken_over = wait_until_taken_over(&session, context);
    outcome.checks.boot(&chain.name, &session, None);
    let is_up = taken_over.is_ok();
    outcome.checks.check("kernel-takes-over", taken_over);
    if !is_up {
        return Ok(());
    }
    // From here on nothing changes, in memory neither.
    session
        .machine
        .execute("stop", json!({}))
        .context("stop the machine")?;
    compare(&session, &prediction, &disk, outcome)?;
    drop(session);
    if outcome.checks.counts().1 == 0 {
        fs::remove_dir_all(&scratch).context("remove the image")?;
    }
    Ok(())
}

fn predict(layout: &Layout, disk: &Path, outcome: &mut Outcome) -> Result<Prediction> {
    let file = File::open(disk).context("open the disk")?;
    let image = Image::open_assuming(file, layout.assumptions.clone());
    let mut image = image.context("find what is started")?;
    let loaded = image.loaded();
    outcome.set_loaded(&loaded);
    let started = loaded.last().context("nothing is started")?.path.clone();
    // Of a short name, FAT keeps the case apart.
    ensure!(
        started.eq_ignore_ascii_case(layout.started),
        "{} is expected to be started, {started} is predicted to be",
        layout.started
    );
    measurements::predict(&mut image).context("predict the registers")
}

/// Fails unless all registers are predicted. Some stubs measure into PCR 9 what only the machine
/// knows, and then the prediction says so; ours does not.
fn ensure_predicted(chain: &Chain, prediction: &Prediction) -> Result<Option<String>> {
    let values = PREDICTED.iter();
    let missing = values.filter(|r| prediction.value(**r).is_none());
    let mut excuses = Vec::new();
    for register in missing {
        let excuse = excuse(*register, &prediction.notes).filter(|_| !chain.is_own);
        let notes = || prediction.notes.join("; ");
        excuses
            .push(excuse.with_context(|| format!("no prediction of PCR {register}: {}", notes()))?);
    }
    Ok((!excuses.is_empty()).then(|| format!("not compared: {}", excuses.join("; "))))
}

/// The note that says why a register is not predicted. Others are about what is, and excuse nothing.
fn excuse(register: u8, notes: &[String]) -> Option<&str> {
    let mut notes = notes.iter().map(String::as_str);
    let note = notes.find(|note| note.starts_with(NOT_PREDICTED));
    note.filter(|_| register == 9)
}

fn wait_until_taken_over(session: &Session, context: &Context) -> Result<()> {
    let end = Instant::now() + context.timeout;
    let marker = Sha256Digest::of(HANDED_OVER);
    let extends = session.tpm.extends();
    while !extends.wait(POLL, |extend| {
        extend.register == 5 && extend.sha256 == Some(marker)
    }) {
        if let Some(status) = session.machine.ended() {
            bail!("the machine ended ({status}) before the kernel took over");
        }
        ensure!(!context.signals.stop(), "interrupted");
        ensure!(
            Instant::now() < end,
            "the kernel has not taken over within {} s; in PCR 5: {} events",
            context.timeout.as_secs(),
            extends.list().iter().filter(|e| e.register == 5).count()
        );
    }
    Ok(())
}

fn compare(
    session: &Session,
    prediction: &Prediction,
    disk: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    let client = session.tpm.client();
    let log = session.event_log();
    if let Ok(found) = &log {
        let path = session.machine.directory().join(EVENT_LOG);
        fs::write(path, &found.bytes).context("keep the event log")?;
    }
    let measured = Measured {
        sha256: client.read_pcrs().context("read the registers")?,
        sha384: client.read_sha384_pcrs().context("read the registers")?,
        extends: session.tpm.extends().list(),
        log: log.as_ref().ok().map(|found| found.log.clone()),
    };
    outcome.set_registers(&measured.rows(prediction));
    let checks = &mut outcome.checks;
    checks.check("registers", measured.ensure_registers(prediction));
    checks.check("wire", measured.ensure_wire(prediction));
    let partition_table = ensure_partition_table(disk, &measured);
    let same_events = |found: FoundLog| ensure_same_events(prediction, &found.log);
    checks.check("event-log", log.and_then(same_events));
    checks.check("partition-table", partition_table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pcr_9_is_excused_and_only_by_its_note() {
        let of_pcr_9 = format!("{NOT_PREDICTED}: a secret of the machine");
        let other = "systemd-boot starts a.efi by itself, of 2".to_owned();
        let notes = [other.clone(), of_pcr_9.clone()];
        assert_eq!(excuse(9, &notes), Some(of_pcr_9.as_str()));
        assert_eq!(excuse(9, &[other]), None);
        assert_eq!(
            excuse(9, &["RTMR2, as PCR 9 is not predicted".to_owned()]),
            None
        );
        assert_eq!(excuse(4, &notes), None);
        assert_eq!(excuse(11, &notes), None);
    }
}
