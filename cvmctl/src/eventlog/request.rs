//! The command line of `cvmctl eventlog`, and the request that it stands for.
//!
//! I/O: none.

use std::path::PathBuf;

use clap::Args;
use measurements::Assumptions;
use measurements::event_log::Bank;
use measurements::predict::pcr11::PHASES;

use crate::measure::{self, AssumptionArguments};

/// Prints what a machine logged while it booted, or explains why that is not what was expected.
///
/// LOG is the TCG event log of a TPM 2.0 (in Linux /sys/kernel/security/tpm0/
/// binary_bios_measurements) or of a bare TDX guest (/sys/firmware/acpi/tables/data/CCEL). The
/// former is compared with the image's PCRs, the latter with its RTMR1 and RTMR2; RTMR0 and MRTD no
/// image leads to. A log proves nothing until it replays to registers that were quoted: give these
/// with --pcrs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{JSON_FORM}"))]
pub(crate) struct EventlogArguments {
    /// The firmware's event log
    log: PathBuf,

    /// Compare with what this image is predicted to measure to, and explain every difference
    #[arg(long)]
    image: Option<PathBuf>,

    /// Are these the registers of this log? A file, or JSON such as '{"4": "5e11…", "9": "baab…"}',
    /// with "rtmr1" and the like for a bare TDX guest; also reference values, and what tpm2_pcrread prints
    #[arg(long, value_name = "FILE|JSON")]
    pcrs: Option<String>,

    /// systemd's log, which goes on where LOG ends: /run/log/systemd/tpm2-measure.log
    #[arg(long, value_name = "FILE")]
    userspace_log: Option<PathBuf>,

    /// A kernel command line that the machine may have been booted with, such as its /proc/cmdline.
    /// It is believed if its digest is in the log. May be given several times
    #[arg(long = "cmdline", value_name = "TEXT", requires = "image")]
    command_lines: Vec<String>,

    /// The bank to look at [default: that of --pcrs, or SHA-256 if the log has it]
    #[arg(long, value_enum)]
    bank: Option<measure::Bank>,

    /// Boot phases that userspace of the image measures into PCR 11, in order, or "all"
    /// [default: none, as in images that mask systemd-pcrphase]
    #[arg(long, value_name = "PHASE", value_delimiter = ',', requires = "image")]
    phases: Vec<String>,

    /// Print JSON; its form is described by --help
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    assumptions: AssumptionArguments,
}

const EXAMPLES: &str = "\
Examples:
  cvmctl eventlog boot.log                             every event, and what it says
  cvmctl eventlog boot.log --pcrs pcrs.json            is it the log of these registers?
  cvmctl eventlog boot.log --image node.raw            which event is not as predicted, and why?
  cvmctl eventlog boot.log --image node.raw --cmdline \"$(cat cmdline)\"    with the words that differ
  cvmctl eventlog CCEL --image node.raw --pcrs '{\"rtmr1\": \"0c5e…\", \"rtmr2\": \"9f1d…\"}'
  cvmctl eventlog boot.log --userspace-log tpm2-measure.log --json";

const JSON_FORM: &str = "\
JSON (fields may be added, those that there are stay):
  version      1
  bank         \"sha256\" or \"sha384\": all digests and values are of this bank, in hex
  is_tdx       whether register numbers are 0 for MRTD and 1 to 4 for RTMR 0 to 3, not PCRs
  events       list, in order: register; source (\"firmware\", \"systemd\", or \"pcrs\": not logged,
               but proven by a given register); type (\"EV_IPL\", or systemd's \"phase\"); digest
               (null if it has none in this bank); is_extended; is_confirmed (the digest is of what
               the words say); words
  registers    what each register replays to
  pcrs         null without --pcrs; else for each given register: given (list), replayed, result
               (\"equal\", \"equal_with_phases\", \"different\", \"not_logged\", \"unknown\")
  image        null without --image; else notes (list); separator (\"rtmr1\" or \"rtmr0\": where the
               firmware of a bare TDX guest put it; null if the log does not tell); not_predicted
               (registers that are not compared, each with the reason); and registers: for each
               compared register predicted, replayed, findings (list of kind, words, predicted,
               measured, where kind is \"changed\", \"missing\", \"added\" or \"unknown\"; no findings
               if they are equal)
  outcome      \"equal\", \"different\" or \"undecided\"; \"printed\" if there was nothing to compare";

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) log: PathBuf,
    pub(crate) image: Option<PathBuf>,
    pub(crate) assumptions: Assumptions,
    pub(crate) phases: Vec<String>,
    pub(crate) pcrs: Option<String>,
    pub(crate) userspace_log: Option<PathBuf>,
    pub(crate) command_lines: Vec<String>,
    pub(crate) bank: Option<Bank>,
    pub(crate) json: bool,
}

impl From<EventlogArguments> for Request {
    fn from(arguments: EventlogArguments) -> Self {
        let bank = arguments.bank.map(|bank| match bank {
            measure::Bank::Sha256 => Bank::Sha256,
            measure::Bank::Sha384 => Bank::Sha384,
        });
        let phases = match arguments.phases.as_slice() {
            [all] if all == "all" => PHASES.map(str::to_owned).into(),
            phases => phases.to_vec(),
        };
        // What `cat` has of /proc/cmdline ends with a line feed.
        let command_lines = arguments.command_lines.iter();
        let command_lines = command_lines.map(|text| text.trim_end().to_owned());
        Self {
            command_lines: command_lines.collect(),
            log: arguments.log,
            image: arguments.image,
            assumptions: arguments.assumptions.into(),
            phases,
            pcrs: arguments.pcrs,
            userspace_log: arguments.userspace_log,
            bank,
            json: arguments.json,
        }
    }
}
