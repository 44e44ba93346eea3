//! `cvmctl diff`: why two images measure differently, or that they do not.
//!
//! I/O: opens both images, read-only.

mod causes;
mod comparison;
mod coverage;
mod decompress;
mod facts;
mod human;
mod initrd;
mod partitions;
mod registers;
mod sections;
mod text;

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use measurements::Image;
use serde::Serialize;

use crate::measure::{AssumptionArguments, MachineKind, open};
use crate::report::{Outcome, Report};
use comparison::{Comparison, Measured};
use facts::Facts;

/// Explains why two images measure differently: UKI sections, files of the initrd, words of the
/// command line, partitions and root hashes.
///
/// Compares PCR 4, 9 and 11 of a vTPM (and 12, where an old boot loader extends it) and RTMR1 and
/// RTMR2 of a bare TDX guest as `cvmctl measure` predicts them, and names what behind each differs.
/// What differs and is covered by none of them is named too. RTMR1 holds the partition table, so
/// that it is predicted of disks only; of PCRs, only PCR 5 has it, which is not predicted.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct DiffArguments {
    /// The first image: a raw disk with a GPT, a fixed VHD, or a UKI (.efi)
    a: PathBuf,

    /// The second image
    b: PathBuf,

    /// Print JSON, with all files and words
    #[arg(long)]
    json: bool,

    /// The kind of machine whose registers decide on the exit code; the text has both kinds
    #[arg(long, value_enum, default_value_t = MachineKind::Azure)]
    attestation_type: MachineKind,

    #[command(flatten)]
    assumptions: AssumptionArguments,
}

const EXIT_CODES: &str = "\
Exit codes, for the registers of --attestation-type:
  0  both measure the same, even if they differ in what is not measured there
  1  they measure differently
  2  could not tell";

/// Something of the first image, and the same of the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Pair<T> {
    a: T,
    b: T,
}

/// In which way one thing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Both have it.
    Changed,
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
}

impl Kind {
    fn of<T>(pair: &Pair<Option<T>>) -> Self {
        match (&pair.a, &pair.b) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Changed,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
        })
    }
}

/// Compares the images and says what was found.
pub(crate) fn run(arguments: DiffArguments) -> anyhow::Result<Report> {
    let assumptions = arguments.assumptions.into();
    let mut a = open(&arguments.a, &assumptions)?;
    let mut b = open(&arguments.b, &assumptions)?;
    let facts = Pair {
        a: facts(&arguments.a, &mut a)?,
        b: facts(&arguments.b, &mut b)?,
    };
    let is_identical = are_identical(&arguments.a, &arguments.b)?;
    let comparison = Comparison::of(facts, is_identical, &mut a, &mut b)?;
    let measured = match arguments.attestation_type {
        MachineKind::Azure => comparison.measured.vtpm,
        MachineKind::Dcap | MachineKind::Gcp => comparison.measured.tdx,
    };
    let outcome = match measured {
        Measured::Alike => Outcome::Good,
        Measured::Differently => Outcome::Bad,
        Measured::Unknown => Outcome::Undecided,
    };
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&comparison).context("write the result as JSON")?;
        json + "\n"
    } else {
        human::report(&comparison)
    };
    Ok(Report { text, outcome })
}

fn facts<R: Read + Seek>(path: &Path, image: &mut Image<R>) -> anyhow::Result<Facts> {
    let shown = path.display().to_string();
    Facts::read(shown, image).with_context(|| format!("read {}", path.display()))
}

/// Says whether the files are byte for byte the same.
fn are_identical(a: &Path, b: &Path) -> anyhow::Result<bool> {
    const CHUNK_SIZE: u64 = 256 << 10;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    let open = |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
    let (mut a, mut b) = (open(a)?, open(b)?);
    loop {
        of_a.clear();
        of_b.clear();
        let read = (&mut a).take(CHUNK_SIZE).read_to_end(&mut of_a);
        read.context("read the first image")?;
        let read = (&mut b).take(CHUNK_SIZE).read_to_end(&mut of_b);
        read.context("read the second image")?;
        if of_a != of_b || of_a.is_empty() {
            return Ok(of_a == of_b);
        }
    }
}
