//! `testbed profile-test`: an image and the same with a profile differ in one file, and in what follows
//! from it.
//!
//! Three witnesses that know nothing of each other: what the images measure and why that differs
//! (`cvmctl diff`), every file of both root file systems, and the lists of installed packages.
//!
//! I/O: runs cvmctl and fsck.erofs; reads the images; prints.

mod listing;
mod reasons;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use measurements::Sha256Digest;
use measurements::reference::{ReferenceValues, Verdict};
use testkit::child::run_tool;
use testkit::tamper::gpt::{ROOT, find};

use crate::checks::Checks;
use crate::registers::predict_image;
use listing::{Entry, Listing};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The image
    image: PathBuf,
    /// The image with the profile
    with_profile: PathBuf,
    /// The one file that the profile adds, as it is in the source
    #[arg(long, value_name = "FILE")]
    adds: PathBuf,
    /// Where that file is in the image
    #[arg(long, value_name = "PATH")]
    at: PathBuf,
    /// The lists of packages of both
    #[arg(long, value_name = "FILE", num_args = 2)]
    manifests: Vec<PathBuf>,
    /// A directory of published values, none of which the image with the profile may have
    #[arg(long, value_name = "DIR")]
    published: PathBuf,
    /// The program that compares what images measure
    #[arg(long, default_value = "cvmctl", value_name = "PROGRAM")]
    cvmctl: PathBuf,
}

/// Makes all checks; returns whether they passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut checks = Checks::new("profile");
    checks.note("measures", measures(options));
    checks.note("files", files(options));
    checks.check("packages", packages(options));
    checks.note("is-not-published", is_not_published(options));
    let (passed, failed) = checks.counts();
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

/// What the images measure differs for one reason: the root file system's hash.
fn measures(options: &Options) -> Result<Option<String>> {
    let output = Command::new(&options.cvmctl)
        .args(["diff", "--json"])
        .args([&options.image, &options.with_profile])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", options.cvmctl.display()))?;
    ensure!(
        output.status.code() == Some(1),
        "cvmctl diff: {}, expected that they differ: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let difference = serde_json::from_slice(&output.stdout).context("parse what cvmctl says")?;
    let hashes = reasons::only_root_hash(&difference)?;
    Ok(Some(format!("root hash {} or {}", hashes.0, hashes.1)))
}

/// Every file is the same but for the one that is added.
fn files(options: &Options) -> Result<Option<String>> {
    let (before, after) = (list(&options.image)?, list(&options.with_profile)?);
    let content = fs::read(&options.adds);
    let content = content.with_context(|| format!("read {}", options.adds.display()))?;
    // A file like the one that must have been there before would make "one more" prove too little.
    let beside = options
        .at
        .parent()
        .and_then(|folder| before.of_path(folder));
    let beside = beside.with_context(|| format!("{} is not in the image", options.at.display()))?;
    let added = Entry::file(&content, beside.time());
    let differences = before.differences(&after);
    let expected = [format!("added {}: {added}", options.at.display())];
    ensure!(
        differences == expected,
        "expected {expected:?}, got {} differences: {:#?}",
        differences.len(),
        differences.iter().take(20).collect::<Vec<_>>()
    );
    Ok(Some(format!("{} and one", before.len())))
}

/// Takes the root file system out of an image, and lists it.
fn list(image: &Path) -> Result<Listing> {
    let root = find(image, ROOT).context("find the root partition")?;
    let directory = tempfile::tempdir().context("make a directory")?;
    let extracted = directory.path().join("root");
    let (extract, offset) = (
        format!("--extract={}", extracted.display()),
        format!("--offset={}", root.offset),
    );
    let image = image.display().to_string();
    run_tool("fsck.erofs", &["--xattrs", &extract, &offset, &image])
        .context("extract the root file system")?;
    Listing::of(&extracted)
}

/// The same packages are installed.
fn packages(options: &Options) -> Result<()> {
    let [before, after] = &options.manifests[..] else {
        anyhow::bail!("expected two lists of packages");
    };
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    ensure!(
        read(before)? == read(after)?,
        "the lists of packages differ"
    );
    Ok(())
}

/// Nobody who goes by published values would trust it.
fn is_not_published(options: &Options) -> Result<Option<String>> {
    let (own, with_profile) = (
        predict_image(&options.image)?,
        predict_image(&options.with_profile)?,
    );
    let mut count = 0;
    let mut has_own = false;
    for entry in fs::read_dir(&options.published).context("list the published values")? {
        let path = entry.context("list the published values")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".json") || name.ends_with(".events.json") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
        for values in ReferenceValues::parse(&text).with_context(|| format!("parse {name}"))? {
            let is = |prediction| {
                let registers = values.compare(prediction);
                registers.iter().all(|one| one.verdict() == Verdict::Equal)
            };
            ensure!(!is(&with_profile), "{name} has what the profile measures");
            has_own |= is(&own);
            count += 1;
        }
    }
    ensure!(count > 0, "nothing is published, so nothing is proved");
    let own = if has_own {
        ""
    } else {
        ", nor the image itself"
    };
    Ok(Some(format!("it is none of {count}{own}")))
}

/// What of a file's content is compared.
fn digest(content: &[u8]) -> String {
    Sha256Digest::of(content).to_string()
}
