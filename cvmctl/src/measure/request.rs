//! The command line of `cvmctl measure`, and the request that it stands for.
//!
//! I/O: none.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use measurements::reference::AttestationType;

/// Prints what an image measures to, or compares that with what was published.
///
/// Predicts PCR 4, 9 and 11 of the vTPM (SHA-256 bank) that a machine has after it booted the
/// image. Needs nothing but the image: no root, no mounting, no other tool. Whether IMAGE is a raw
/// disk, a fixed VHD or a bare UKI (.efi) is told by its contents.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MeasureArguments {
    /// The image: a raw disk with a GPT, a fixed VHD, or a UKI (.efi)
    image: PathBuf,

    /// Print every event behind each register: its digest, and what was measured
    #[arg(long)]
    events: bool,

    /// Print JSON. The values are JSON anyway; with --events, the events are too
    #[arg(long)]
    json: bool,

    /// Name of the image in the JSON, or the entry of --compare's FILE to compare with
    /// [default: the image's file name, or any entry that is equal]
    #[arg(long, value_name = "ID")]
    measurement_id: Option<String>,

    /// The kind of machine that the values are for
    #[arg(long, value_enum, default_value_t = Machine::AzureTdx)]
    attestation_type: Machine,

    /// Compare with published values: exit 0 if the image measures to them, 1 if not
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "json"])]
    compare: Option<PathBuf>,

    /// Compare with events that --events --json printed, and name those that differ
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "json"])]
    compare_events: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cvmctl measure node.raw > node.json            values, in the form that is published
  cvmctl measure node.vhd --events               what was measured, event by event
  cvmctl measure node.vhd --compare node.json    is it the image that was published?
  cvmctl measure old.raw --events --json > old.events.json
  cvmctl measure new.raw --compare-events old.events.json    what has changed?";

/// Kinds of machine with the registers that are predicted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Machine {
    /// A TDX machine of Azure, which has a vTPM
    AzureTdx,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) image: PathBuf,
    pub(crate) measurement_id: String,
    pub(crate) attestation_type: AttestationType,
    pub(crate) task: Task,
}

/// What to do with what was predicted.
#[derive(Debug)]
pub(crate) enum Task {
    PrintValues,
    PrintEvents,
    PrintEventsJson,
    Compare(CompareWith),
}

/// What to compare with; at least one of the two files.
#[derive(Debug)]
pub(crate) struct CompareWith {
    pub(crate) values: Option<PathBuf>,
    /// The one entry of `values` that counts.
    pub(crate) entry: Option<String>,
    pub(crate) events: Option<PathBuf>,
}

impl TryFrom<MeasureArguments> for Request {
    type Error = anyhow::Error;

    fn try_from(arguments: MeasureArguments) -> anyhow::Result<Self> {
        let MeasureArguments {
            image,
            events,
            json,
            measurement_id,
            compare,
            ..
        } = arguments;
        let task = match (compare, arguments.compare_events) {
            (None, None) if events && json => Task::PrintEventsJson,
            (None, None) if events => Task::PrintEvents,
            (None, None) => Task::PrintValues,
            (values, events) => Task::Compare(CompareWith {
                values,
                entry: measurement_id.clone(),
                events,
            }),
        };
        let measurement_id = match measurement_id {
            Some(id) => id,
            None => {
                let name = image.file_name().and_then(|name| name.to_str());
                let named =
                    || format!("take a name from {}: use --measurement-id", image.display());
                name.with_context(named)?.to_owned()
            }
        };
        ensure!(
            !measurement_id.is_empty(),
            "expected a --measurement-id that is not empty"
        );
        let attestation_type = match arguments.attestation_type {
            Machine::AzureTdx => AttestationType::AzureTdx,
        };
        Ok(Self {
            image,
            measurement_id,
            attestation_type,
            task,
        })
    }
}
