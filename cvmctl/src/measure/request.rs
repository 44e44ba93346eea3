//! The command line of `cvmctl measure`, and the request that it stands for.
//!
//! I/O: none.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use measurements::predict::pcr11::PHASES;
use measurements::reference::AttestationType;
use measurements::{Assumptions, Digests, StubVersion};

/// Prints what an image measures to, or compares that with what was published.
///
/// Predicts PCR 4, 9 and 11 of the vTPM (SHA-256 bank) that a machine has after it booted the
/// image. Needs nothing but the image: no root, no mounting, no other tool. Whether IMAGE is a raw
/// disk, a fixed VHD or a bare UKI (.efi) is told by its contents. The UKI may be started by firmware or
/// by systemd-boot, and may be made with systemd-stub 250 or newer. What is surprising about an image
/// is noted on standard error.
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

    /// The bank that tables show; published values are of sha256, JSON events have both
    #[arg(long, value_enum, default_value_t = Bank::Sha256)]
    bank: Bank,

    /// Boot phases that userspace measures into PCR 11 after the stub, in order, or "all"
    /// [default: none, as in images that mask systemd-pcrphase]
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    phases: Vec<String>,

    #[command(flatten)]
    assumptions: AssumptionArguments,

    /// Compare with published values: exit 0 if the image measures to them, 1 if not
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "json"])]
    compare: Option<PathBuf>,

    /// Compare with events that --events --json printed, and name those that differ
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "json"])]
    compare_events: Option<PathBuf>,
}

/// What the image does not say about the boot.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What the image does not say")]
pub(crate) struct AssumptionArguments {
    /// The UKI in EFI/Linux that systemd-boot is told to start [default: the one it takes by itself]
    #[arg(long, value_name = "FILE")]
    entry: Option<String>,

    /// Which profile of a UKI that has several is started
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    profile: u32,

    /// Follow the rules of this systemd-stub, whatever the UKI says it has
    #[arg(long, value_name = "VERSION")]
    stub_version: Option<StubVersion>,
}

impl From<AssumptionArguments> for Assumptions {
    fn from(arguments: AssumptionArguments) -> Self {
        let mut assumptions = Self::default();
        assumptions.entry = arguments.entry;
        assumptions.profile = arguments.profile;
        assumptions.stub_version = arguments.stub_version;
        assumptions
    }
}

/// A bank of the vTPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bank {
    /// The bank that attestation uses
    Sha256,
    /// The bank of the same registers with longer digests
    Sha384,
}

impl Bank {
    /// A digest's text in this bank.
    pub(crate) fn of(self, digests: Digests) -> String {
        match self {
            Self::Sha256 => digests.sha256.to_string(),
            Self::Sha384 => digests.sha384.to_string(),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  cvmctl measure node.raw > node.json            values, in the form that is published
  cvmctl measure node.vhd --events               what was measured, event by event
  cvmctl measure node.vhd --events --bank sha384
  cvmctl measure old.raw --entry node-1.2.efi    a disk with systemd-boot and several UKIs
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
    pub(crate) assumptions: Assumptions,
    pub(crate) phases: Vec<String>,
    pub(crate) bank: Bank,
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
            bank,
            ..
        } = arguments;
        ensure!(
            bank == Bank::Sha256 || (events && !json),
            "published values are of the SHA-256 bank: --bank {bank:?} is for --events"
        );
        let phases = match arguments.phases.as_slice() {
            [all] if all == "all" => PHASES.map(str::to_owned).into(),
            phases => phases.to_vec(),
        };
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
            assumptions: arguments.assumptions.into(),
            phases,
            bank,
            task,
        })
    }
}
