//! `testbed fault-test`: makes everything around a node fail, and mends it again: the node has to say
//! what is wrong, in the words of the table, and to go on by itself.
//!
//! Not here: what cannot be done from outside, such as killing the agent, or making the clock jump while it
//! runs (there is no time server). The agent's own tests do that.
//!
//! I/O: starts hubs and nodes; prints; writes the report.

mod document;
mod fault;
mod scenes;
mod secrets;
mod table;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::Common;
use crate::checks::Checks;
use crate::report::Header;
use crate::run::memory;
use crate::scripted::world::Context;
use crate::signals::Signals;
use crate::work::Work;
use scenes::{SCENES, Scene};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Only this scene; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the scenes and end
    #[arg(long)]
    list: bool,
    /// Print the table of faults, as docs/operator.md has it, and end
    #[arg(long)]
    table: bool,
    /// How many scenes are played at once, if there is memory for so many: they wait most of the time
    #[arg(long, default_value_t = 3, value_name = "N")]
    jobs: usize,
    /// Write results and times to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How long the node may take for each thing that it has to say, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
    /// The hub's program
    #[arg(long, default_value = "builderhub", value_name = "PROGRAM")]
    builderhub: PathBuf,
}

/// What was found out.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    scenarios: &'a [Checks],
}

/// Plays the scenes; returns whether all checks passed.
///
/// # Errors
///
/// Also if it was interrupted: what has not been checked has not passed.
pub(crate) fn run(options: &Options, signals: Signals) -> Result<bool> {
    if options.table {
        print!("{}", document::table());
        return Ok(true);
    }
    if options.list {
        for scene in SCENES {
            println!("{:12} {}", scene.name, scene.what);
        }
        return Ok(true);
    }
    let chosen = choose(&options.only)?;
    let jobs = options.jobs.clamp(1, chosen.len().max(1));
    let jobs = memory::fitting(jobs, options.common.memory)?;
    let work = Work::new(options.common.run_dir.as_deref())?;
    let _lock = work.alone()?;
    let (common, builderhub) = (&options.common, options.builderhub.clone());
    let context = Context::new(common, builderhub, options.timeout, work.path(), signals)?;
    let played = play_all(&chosen, &context, jobs);
    let size = (context.memory, context.cpus);
    let header = Header::new(&context.image, context.accelerator, size, played.iter());
    let (passed, failed) = header.counts();
    if let Some(path) = &options.report {
        let report = Report {
            header,
            scenarios: &played,
        };
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if failed > 0 {
        println!("logs: {}", work.keep().display());
    }
    println!("{passed} passed, {failed} failed");
    if context.signals.stop() || played.len() < chosen.len() {
        bail!(
            "interrupted: {} of {} scenes were played",
            played.len(),
            chosen.len()
        );
    }
    Ok(failed == 0 && passed > 0)
}

/// The scenes of these names; all if there are none.
fn choose(only: &[String]) -> Result<Vec<&'static Scene>> {
    for name in only {
        ensure!(
            SCENES.iter().any(|scene| scene.name == name),
            "no scene is called {name}: --list shows them"
        );
    }
    let chosen = SCENES
        .iter()
        .filter(|scene| only.is_empty() || only.iter().any(|name| name == scene.name));
    Ok(chosen.collect())
}

/// Plays them, `jobs` at a time, in order. Each machine ends with the thread that has started it.
fn play_all(chosen: &[&'static Scene], context: &Context, jobs: usize) -> Vec<Checks> {
    let queue = Mutex::new(chosen.iter());
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let done = done.clone();
            let queue = &queue;
            scope.spawn(move || {
                while !context.signals.stop() {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(scene) = next else { return };
                    let mut checks = Checks::new(scene.name);
                    if let Err(error) = (scene.play)(context, &mut checks) {
                        checks.check("played", Err(error));
                    }
                    // The receiver outlives all threads of this scope.
                    let _ = done.send(checks);
                }
            });
        }
    });
    drop(done);
    finished.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap().len(), SCENES.len());
        assert_eq!(choose(&["first".to_owned()]).unwrap().len(), 1);
        assert!(choose(&["no-such".to_owned()]).is_err());
    }
}
