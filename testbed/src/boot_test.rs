//! `testbed boot-test`: boots an image clean and under attack.
//!
//! A scenario is one boot, or a few that belong together; it makes several checks. All that an
//! attacking host can offer in one boot without the attacks disturbing each other is in one
//! scenario, because a boot under emulation takes most of a minute.
//!
//! I/O: starts machines; prints; writes the report.

mod context;
mod marker;
mod report;
mod scenarios;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::Common;
use crate::checks::Checks;
use crate::signals::Signals;
use crate::work::Work;
use context::Context;
use report::Report;
use scenarios::{SCENARIOS, Scenario};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Only this scenario; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// How many scenarios run at once
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// A TCP port that may answer; may be repeated
    #[arg(long = "published", value_name = "PORT", default_value = "7936")]
    published: Vec<u16>,
    /// A TCP port that the firewall lets through and nobody listens on yet; may be repeated
    #[arg(long = "opened", value_name = "PORT")]
    opened: Vec<u16>,
    /// Write results and boot times to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How long one boot may take, in seconds
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    timeout: u64,
}

/// Runs the scenarios; returns whether all checks passed.
///
/// # Errors
///
/// Also if it was interrupted: what has not been checked has not passed.
pub(crate) fn run(options: &Options, signals: Signals) -> Result<bool> {
    if options.list {
        for scenario in SCENARIOS {
            println!("{:16} {}", scenario.name, scenario.what);
        }
        return Ok(true);
    }
    let chosen = choose(&options.only)?;
    let work = Work::new(options.common.run_dir.as_deref())?;
    let context = Context::new(&options.common, options, work.path(), signals)?;
    let finished = run_all(&chosen, &context, options.jobs.max(1));
    let (wanted, done) = (chosen.len(), finished.len());
    let report = Report::new(&context, finished);
    if let Some(path) = &options.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    let (passed, failed) = report.counts();
    if failed > 0 {
        println!("logs: {}", work.keep().display());
    }
    println!("{passed} passed, {failed} failed");
    if context.signals.stop() || done < wanted {
        bail!("interrupted: {done} of {wanted} scenarios ran");
    }
    Ok(failed == 0 && passed > 0)
}

/// The scenarios of these names; all if there are none.
fn choose(only: &[String]) -> Result<Vec<&'static Scenario>> {
    for name in only {
        ensure!(
            SCENARIOS.iter().any(|scenario| scenario.name == name),
            "no scenario is called {name}: --list shows them"
        );
    }
    let chosen = SCENARIOS
        .iter()
        .filter(|scenario| only.is_empty() || only.iter().any(|name| name == scenario.name));
    Ok(chosen.collect())
}

/// Runs the scenarios, `jobs` at a time, in order.
fn run_all(chosen: &[&'static Scenario], context: &Context, jobs: usize) -> Vec<Checks> {
    let queue = Mutex::new(chosen.iter());
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let done = done.clone();
            let queue = &queue;
            scope.spawn(move || {
                while !context.signals.stop() {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(scenario) = next else { return };
                    // The receiver outlives all threads of this scope.
                    let _ = done.send(run_one(scenario, context));
                }
            });
        }
    });
    drop(done);
    finished.into_iter().collect()
}

fn run_one(scenario: &'static Scenario, context: &Context) -> Checks {
    let mut checks = Checks::new(scenario.name);
    if let Err(error) = (scenario.run)(context, &mut checks) {
        checks.check("set-up", Err(error));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_chooses_all() {
        assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
    }

    #[test]
    fn unknown_name_is_an_error() {
        assert!(choose(&["no-such".to_owned()]).is_err());
        assert_eq!(choose(&["clean".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn scenarios_have_different_names() {
        for scenario in SCENARIOS {
            let same = SCENARIOS.iter().filter(|other| other.name == scenario.name);
            assert_eq!(same.count(), 1, "{}", scenario.name);
        }
    }
}
