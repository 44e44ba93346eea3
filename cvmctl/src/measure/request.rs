//! The command line of `cvmctl measure`, and the request that it stands for.
//!
//! I/O: none.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use measurements::predict::pcr11::PHASES;
use measurements::reference::AttestationType;
use measurements::tdx::{MrtdOrder, SeparatorRegister};
use measurements::{Assumptions, Digests, StubVersion};

/// Prints what an image measures to, or compares that with what was published.
///
/// Predicts PCR 4, 9 and 11 of the vTPM that a machine has after it booted the image, or RTMR1 and
/// RTMR2 of a bare TDX guest. Needs nothing but the image: no root, no mounting, no other tool. Whether IMAGE is a raw
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
    #[arg(long, value_enum, default_value_t = MachineKind::Azure)]
    attestation_type: MachineKind,

    /// The bank that the table of --events shows [default: sha256; sha384 for a bare TDX guest]
    #[arg(long, value_enum)]
    bank: Option<Bank>,

    /// Boot phases that userspace measures into PCR 11 after the stub, in order, or "all"
    /// [default: none, as in images that mask systemd-pcrphase]
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    phases: Vec<String>,

    #[command(flatten)]
    assumptions: AssumptionArguments,

    #[command(flatten)]
    tdx: TdxArguments,

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

    /// Secure Boot is on: a stub up to 257 then keeps the kernel out of PCR 4
    #[arg(long)]
    secure_boot: bool,

    /// Follow the rules of this systemd-stub, whatever the UKI says it has
    #[arg(long, value_name = "VERSION")]
    stub_version: Option<StubVersion>,
}

impl From<AssumptionArguments> for Assumptions {
    fn from(arguments: AssumptionArguments) -> Self {
        let AssumptionArguments {
            entry,
            profile,
            secure_boot,
            stub_version,
        } = arguments;
        Self {
            entry,
            profile,
            secure_boot,
            stub_version,
        }
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
  cvmctl measure node.raw --attestation-type dcap-tdx --firmware OVMF.fd
  cvmctl measure old.raw --entry node-1.2.efi    a disk with systemd-boot and several UKIs
  cvmctl measure node.vhd --compare node.json    is it the image that was published?
  cvmctl measure old.raw --events --json > old.events.json
  cvmctl measure new.raw --compare-events old.events.json    what has changed?";

/// Kinds of machine with the registers that are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MachineKind {
    /// A TDX machine of Azure, which has a vTPM: PCR 4, 9, 11
    #[value(name = "azure-tdx")]
    Azure,
    /// A bare TDX guest: RTMR1, RTMR2, and MRTD with --firmware
    #[value(name = "dcap-tdx")]
    Dcap,
    /// The same of Google's cloud
    #[value(name = "gcp-tdx")]
    Gcp,
}

/// What is known of the host of a bare TDX guest.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "For a bare TDX guest")]
struct TdxArguments {
    /// The firmware that the host builds the guest with (TDVF, for example OVMF.fd): gives MRTD
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,

    /// In which order the host measures the firmware's pages
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::SinglePass)]
    mrtd_order: Order,

    /// The register that the firmware measures its separator into
    #[arg(long, value_enum, value_name = "RTMR", default_value_t = Separator::Rtmr1)]
    separator: Separator,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// Each page when it was added: Linux since 6.16 with QEMU since 10.1
    SinglePass,
    /// All pages of a section after all were added: hosts of 2024
    TwoPass,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Separator {
    /// EDK II since edk2-stable202411
    Rtmr1,
    /// Before
    Rtmr0,
}

/// The machine whose registers are asked for.
#[derive(Debug)]
pub(crate) enum Machine {
    /// With a vTPM, whose PCR 11 userspace extends by these phases.
    Vtpm { phases: Vec<String> },
    /// A bare TDX guest.
    Tdx(TdxHost),
}

/// What is known of the host of a bare TDX guest.
#[derive(Debug)]
pub(crate) struct TdxHost {
    pub(crate) firmware: Option<PathBuf>,
    pub(crate) order: MrtdOrder,
    pub(crate) separator: SeparatorRegister,
}

impl From<TdxArguments> for TdxHost {
    fn from(arguments: TdxArguments) -> Self {
        Self {
            firmware: arguments.firmware,
            order: match arguments.mrtd_order {
                Order::SinglePass => MrtdOrder::SinglePass,
                Order::TwoPass => MrtdOrder::TwoPass,
            },
            separator: match arguments.separator {
                Separator::Rtmr1 => SeparatorRegister::Rtmr1,
                Separator::Rtmr0 => SeparatorRegister::Rtmr0,
            },
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) image: PathBuf,
    pub(crate) measurement_id: String,
    pub(crate) attestation_type: AttestationType,
    pub(crate) assumptions: Assumptions,
    pub(crate) machine: Machine,
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
            bank.is_none() || (events && !json),
            "--bank is for the table of --events; published values are of one bank, JSON has both"
        );
        // An RTMR is always made with SHA-384.
        let bank = match arguments.attestation_type {
            MachineKind::Azure => bank.unwrap_or(Bank::Sha256),
            MachineKind::Dcap | MachineKind::Gcp => {
                ensure!(bank != Some(Bank::Sha256), "an RTMR has no SHA-256 bank");
                Bank::Sha384
            }
        };
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
            MachineKind::Azure => AttestationType::AzureTdx,
            MachineKind::Dcap => AttestationType::DcapTdx,
            MachineKind::Gcp => AttestationType::GcpTdx,
        };
        let machine = if arguments.attestation_type == MachineKind::Azure {
            ensure!(
                arguments.tdx.firmware.is_none(),
                "--firmware is for a bare TDX guest (--attestation-type dcap-tdx)"
            );
            Machine::Vtpm { phases }
        } else {
            ensure!(
                phases.is_empty(),
                "--phases is for PCR 11 of a vTPM (--attestation-type azure-tdx)"
            );
            Machine::Tdx(arguments.tdx.into())
        };
        Ok(Self {
            image,
            measurement_id,
            attestation_type,
            assumptions: arguments.assumptions.into(),
            machine,
            bank,
            task,
        })
    }
}
