//! What a machine is expected to measure to: published values, or images that are measured here.
//!
//! They are the one thing that has to come from a trusted place; which machine they are compared
//! with decides on the kind of values that count.
//!
//! I/O: reads files and images; fetches published values.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use attestation::policy::PolicyError;
use attestation::{Policy, TcbPolicy};
use clap::Args;
use measurements::Assumptions;
use measurements::reference::{AttestationType, ReferenceValues};

use crate::report::one_line;
use crate::{files, http, measure};

/// Largest list of published values.
pub(crate) const MAX_VALUES: u64 = 16 << 20;

/// PCRs into which nothing is measured that does not come from beside the image: command lines,
/// credentials, extensions, and what userspace adds.
const UNTOUCHED: [u8; 3] = [12, 13, 15];

/// What the machine should measure to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What the machine should run")]
pub(crate) struct ExpectationArguments {
    /// Published values (a JSON file, or its https:// address) or an image to measure; with
    /// several, any one of them is accepted
    #[arg(long, value_name = "FILE|URL|IMAGE")]
    expected_measurements: Vec<String>,

    /// An image (.raw, .vhd, .efi) that the machine may run; its values for azure-tdx are
    /// predicted. May be repeated
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,

    /// Compare with nothing: only find out that it is a genuine machine, whatever it runs
    #[arg(long, conflicts_with_all = ["expected_measurements", "image"])]
    pub(crate) no_expectations: bool,
}

impl ExpectationArguments {
    /// Whether there is anything to compare with.
    pub(crate) fn are_given(&self) -> bool {
        !self.expected_measurements.is_empty() || !self.image.is_empty()
    }

    /// Reads, fetches and predicts all values; empty only if none were given. Each that is fetched
    /// may take as long as `limit`.
    pub(crate) async fn load(&self, limit: Duration) -> anyhow::Result<Vec<ReferenceValues>> {
        let mut references = Vec::new();
        for source in &self.expected_measurements {
            let is_address = source.starts_with("https://") || source.starts_with("http://");
            references.extend(match is_address {
                true => fetch(source, limit).await?,
                false if is_image(Path::new(source))? => predict(Path::new(source))?,
                false => parse(source, files::read(Path::new(source), MAX_VALUES)?)?,
            });
        }
        for path in &self.image {
            references.extend(predict(path)?);
        }
        Ok(references)
    }
}

/// The policy of these values; `None` if there are none.
pub(crate) fn policy(
    references: &[ReferenceValues],
    tcb: &TcbPolicy,
) -> Result<Option<Policy>, PolicyError> {
    if references.is_empty() {
        return Ok(None);
    }
    let policy = Policy::new(references.to_vec(), tcb.clone())?;
    Ok(Some(policy.with_untouched_pcrs(UNTOUCHED)))
}

async fn fetch(url: &str, limit: Duration) -> anyhow::Result<Vec<ReferenceValues>> {
    let fetched = tokio::time::timeout(limit, http::fetch(url)).await;
    let fetched = fetched.with_context(|| format!("no answer within {limit:?}"));
    let fetched = fetched.flatten().with_context(|| format!("fetch {url}"))?;
    parse(url, fetched)
}

/// Parses a list from wherever it is.
pub(crate) fn parse(place: &str, bytes: Vec<u8>) -> anyhow::Result<Vec<ReferenceValues>> {
    let context = || format!("read the reference values in {place}");
    let text = String::from_utf8(bytes).with_context(context)?;
    let values = ReferenceValues::parse(&text).with_context(context)?;
    ensure!(
        !values.is_empty(),
        "expected reference values in {place}, got none"
    );
    Ok(values)
}

/// Tells an image from a list: a PE begins with its signature, a disk has a GPT in its second
/// sector.
fn is_image(path: &Path) -> anyhow::Result<bool> {
    let context = || format!("open {}", path.display());
    let kind = fs::metadata(path).with_context(context)?.file_type();
    if !kind.is_file() {
        // A pipe can be read once only, and an image is no pipe.
        return Ok(false);
    }
    let mut head = Vec::new();
    let file = File::open(path).with_context(context)?;
    file.take(520)
        .read_to_end(&mut head)
        .with_context(context)?;
    Ok(head.starts_with(b"MZ") || head.get(512..) == Some(b"EFI PART"))
}

/// Predicts an image's values. Those of a bare TDX guest take the firmware besides, without which
/// they would prove nothing, and are left to `cvmctl measure`.
fn predict(path: &Path) -> anyhow::Result<Vec<ReferenceValues>> {
    let mut image = measure::open(path, &Assumptions::default())?;
    let prediction = measure::predict(&mut image, path)?;
    for note in &prediction.notes {
        eprintln!("cvmctl: note: {}", one_line(note));
    }
    ensure!(
        prediction.registers.contains_key(&4),
        "PCR 4 cannot be predicted for {}, and stands for every program in it",
        path.display()
    );
    let name = path.file_name().unwrap_or(path.as_os_str());
    let kind = AttestationType::AzureTdx;
    let values = ReferenceValues::from_prediction(name.to_string_lossy(), kind, &prediction);
    Ok(vec![values])
}
