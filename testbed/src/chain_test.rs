//! `testbed chain-test`: boots other chains than the image's own, and compares what each measures
//! with what is predicted of it.
//!
//! The image's boot test proves the rules that the image happens to need. Those for profiles, odd
//! command lines, missing sections, systemd-boot and other versions of the stub are proven here,
//! on small disks with the image's kernel. A boot is followed until the kernel has taken over from
//! the firmware: by then everything that is predicted has been measured.
//!
//! Left out: chains that measure what is not in an image (add-ons, credentials), which `boot-test`
//! has; Secure Boot.
//!
//! I/O: starts machines; prints; writes the report.

mod boot;
mod compare;
mod layout;
mod report;
mod variants;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use measurements::Image;
use testkit::machine::Accelerator;

use crate::Common;
use crate::signals::Signals;
use crate::work::Work;
use boot::Context;
use report::{Outcome, Report};
use variants::{EVERY_STUB, OWN_STUB, Variant};

/// Where the tools tree has the stub and systemd-boot.
const OWN_STUB_FOLDER: &str = "/usr/lib/systemd/boot/efi";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Also boots with linuxx64.efi.stub and systemd-bootx64.efi of this directory; may be repeated
    #[arg(long = "stub-dir", value_name = "DIR")]
    stub_dirs: Vec<PathBuf>,
    /// Only this chain, or those of this stub directory; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the chains and end
    #[arg(long)]
    list: bool,
    /// Write results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How long one boot may take, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
}

/// A variant, with the stub that it is booted with.
#[derive(Clone, Debug)]
struct Chain {
    /// The variant's name; behind the directory's, if it is not the tools tree's stub.
    name: String,
    variant: &'static Variant,
    /// Where stub and systemd-boot are.
    folder: PathBuf,
    /// Whether every register must be predicted: of other stubs it is known that some cannot.
    is_own: bool,
}

/// Boots the chains; returns whether all checks passed.
///
/// # Errors
///
/// Also if it was interrupted: what has not been checked has not passed.
pub(crate) fn run(options: &Options, signals: &Signals) -> Result<bool> {
    let all = all(&options.stub_dirs)?;
    if options.list {
        for chain in &all {
            println!("{:20} {}", chain.name, chain.variant.what);
        }
        return Ok(true);
    }
    let chosen = choose(all, &options.only)?;
    let work = Work::new(options.common.run_dir.as_deref())?;
    let kernel = work.path().join("chain-kernel");
    extract_kernel(&options.common.image, &kernel)?;
    let context = Context {
        kernel,
        directory: work.path().to_owned(),
        accelerator: Accelerator::detect(),
        memory: options.common.memory,
        cpus: options.common.cpus,
        timeout: Duration::from_secs(options.timeout),
        signals: signals.clone(),
    };
    let mut outcomes = Vec::new();
    for chain in chosen.iter().take_while(|_| !signals.stop()) {
        outcomes.push(run_one(chain, &context));
    }
    let done = outcomes.len();
    let report = Report::new(&options.common, context.accelerator, outcomes);
    if let Some(path) = &options.report {
        report.write(path)?;
    }
    let (passed, failed) = report.counts();
    if failed > 0 {
        println!("logs: {}", work.keep().display());
    }
    println!("{passed} passed, {failed} failed");
    if signals.stop() || done < chosen.len() {
        bail!("interrupted: {done} of {} chains were booted", chosen.len());
    }
    Ok(failed == 0 && passed > 0)
}

/// All chains: those of the tools tree's stub, then some for each of the others.
fn all(stub_dirs: &[PathBuf]) -> Result<Vec<Chain>> {
    let own = OWN_STUB.iter().map(|variant| Chain {
        name: variant.name.to_owned(),
        variant,
        folder: OWN_STUB_FOLDER.into(),
        is_own: true,
    });
    let mut chains: Vec<_> = own.collect();
    for folder in stub_dirs {
        let name = folder.file_name();
        let name = name.with_context(|| format!("{} has no name", folder.display()))?;
        chains.extend(EVERY_STUB.iter().map(|variant| Chain {
            name: format!("{}/{}", name.to_string_lossy(), variant.name),
            variant,
            folder: folder.clone(),
            is_own: false,
        }));
    }
    Ok(chains)
}

/// The chains of these names, or of these directories; all if there are none.
fn choose(mut chains: Vec<Chain>, only: &[String]) -> Result<Vec<Chain>> {
    let is_meant = |chain: &Chain, wanted: &String| {
        let directory = chain.name.split_once('/').map(|(directory, _)| directory);
        chain.name == *wanted || directory == Some(wanted)
    };
    for wanted in only {
        ensure!(
            chains.iter().any(|chain| is_meant(chain, wanted)),
            "no chain is called {wanted}: --list shows them"
        );
    }
    chains.retain(|chain| only.is_empty() || only.iter().any(|wanted| is_meant(chain, wanted)));
    Ok(chains)
}

/// Writes the kernel of the image's UKI to a file.
fn extract_kernel(image: &Path, kernel: &Path) -> Result<()> {
    let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
    let mut image = Image::open(file)
        .with_context(|| format!("find the kernel image in {}", image.display()))?;
    let sections = image.sections();
    let linux = sections.iter().find(|section| section.name == ".linux");
    let mut reader = image.section_reader(linux.context("the kernel image has no kernel")?);
    let mut file = File::create(kernel).context("write the kernel")?;
    io::copy(&mut reader, &mut file).context("write the kernel")?;
    Ok(())
}

fn run_one(chain: &Chain, context: &Context) -> Outcome {
    let mut outcome = Outcome::new(&chain.name);
    if let Err(error) = boot::run(chain, context, &mut outcome) {
        outcome.checks.check("set-up", Err(error));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chains: &[Chain]) -> Vec<&str> {
        chains.iter().map(|chain| chain.name.as_str()).collect()
    }

    #[test]
    fn every_stub_directory_adds_chains_of_its_name() {
        let chains = all(&["/x/252".into(), "/x/254".into()]).unwrap();
        assert_eq!(chains.len(), OWN_STUB.len() + 2 * EVERY_STUB.len());
        let of_252 = choose(chains.clone(), &["252".to_owned()]).unwrap();
        assert_eq!(names(&of_252), ["252/direct", "252/loader"]);
        assert!(of_252.iter().all(|chain| !chain.is_own));
        let one = choose(chains.clone(), &["254/loader".to_owned()]).unwrap();
        assert_eq!(names(&one), ["254/loader"]);
        assert!(choose(chains, &["2".to_owned()]).is_err());
        assert!(all(&["/".into()]).is_err());
    }

    #[test]
    fn chains_have_different_names() {
        let chains = all(&[]).unwrap();
        let mut names = names(&chains);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), chains.len());
        assert_eq!(choose(chains.clone(), &[]).unwrap().len(), chains.len());
    }
}
