//! `testbed power-cut-test`: cuts a node's power at random moments, and boots it again with what it had.
//!
//! Three kinds of moments take turns: of a new machine's first boot, of a later boot, and while a ready
//! node refreshes its configuration. The disk must hold what it held, right after the cut and when the node is
//! ready again, which it has to become by itself. The moments follow from a seed, which is printed.
//!
//! It is the machine that is cut off, with whatever it has not written yet: what it has written, the host
//! keeps. A disk that loses what it has acknowledged is another test.
//!
//! I/O: starts hubs and nodes, kills QEMU; prints; writes the report.

mod disk;
mod moments;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use testkit::console::phases::phases;
use testkit::console::stages::stages;

use crate::Common;
use crate::checks::Checks;
use crate::data_disk::Disk;
use crate::report::Header;
use crate::scripted::node::READY;
use crate::scripted::world::{Context, World};
use crate::signals::Signals;
use crate::work::Work;
use disk::{Cut, FORMATTED, Held};
use moments::{Kind, Moments};

/// A refresh of the `sim` profile comes within this time, and some.
const REFRESH: Duration = Duration::from_secs(4);
/// How often it is looked whether it is time.
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// How often the power is cut
    #[arg(long, default_value_t = 4, value_name = "N")]
    cuts: u32,
    /// The moments' seed [default: another one each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write results and times to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How long the node may take until it is ready, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

/// What was found out.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    seed: u64,
    cuts: u32,
    scenarios: [&'a Checks; 1],
}

/// Cuts and boots; returns whether all checks passed.
///
/// # Errors
///
/// Also if it was interrupted: what has not been checked has not passed.
pub(crate) fn run(options: &Options, signals: Signals) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(seed_of_now);
    println!("{} cuts, seed {seed}", options.cuts);
    let work = Work::new(options.common.run_dir.as_deref())?;
    let _lock = work.alone()?;
    // The hub of this test asks for no evidence.
    let (common, builderhub) = (&options.common, PathBuf::new());
    let context = Context::new(common, builderhub, options.timeout, work.path(), signals)?;
    let mut checks = Checks::new("power-cut");
    if let Err(error) = cut_and_boot(&context, options.cuts, seed, &mut checks) {
        checks.check("played", Err(error));
    }
    let size = (context.memory, context.cpus);
    let header = Header::new(
        &context.image,
        context.accelerator,
        size,
        [&checks].into_iter(),
    );
    let (passed, failed) = header.counts();
    if let Some(path) = &options.report {
        let report = Report {
            header,
            seed,
            cuts: options.cuts,
            scenarios: [&checks],
        };
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if failed > 0 {
        println!("logs: {}; again with --seed {seed}", work.keep().display());
    }
    println!("{passed} passed, {failed} failed");
    if context.signals.stop() {
        bail!("interrupted");
    }
    Ok(failed == 0 && passed > 0)
}

/// The machine of one run.
struct Subject<'a> {
    world: World<'a>,
    context: &'a Context,
    /// How long a boot takes until it is ready; the longest so far.
    ready_after: Duration,
    /// What the disk has to have.
    held: Held,
}

fn cut_and_boot(context: &Context, cuts: u32, seed: u64, checks: &mut Checks) -> Result<()> {
    let mut subject = Subject {
        world: World::new(context, "node", false)?,
        context,
        ready_after: Duration::ZERO,
        held: Held::default(),
    };
    let mut moments = Moments::new(seed);
    // Without a cut: how long it takes, and that it can be.
    subject.boot(checks, "boot")?;
    for number in 1..=cuts {
        let kind = Kind::of(number);
        let name = format!("cut-{number}-{}", kind.name());
        let cut = subject.cut(kind, moments.next());
        let known = cut.as_ref().ok().map(|(known, _)| known.clone());
        checks.note(&name, cut.map(|(_, said)| Some(said)));
        let known = known.context("cut the power")?;
        checks.note(
            &format!("{name}-disk"),
            subject.look(kind, &known).map(Some),
        );
        // What follows a refresh is a boot that is cut as well, if there is one.
        if !(kind == Kind::Refresh
            && number < cuts
            && Kind::of(number.saturating_add(1)) == Kind::Later)
        {
            subject.boot(checks, &format!("boot-{number}"))?;
        }
    }
    Ok(())
}

impl Subject<'_> {
    /// Boots until ready, and looks at the disk.
    fn boot(&mut self, checks: &mut Checks, name: &str) -> Result<()> {
        let node = self.world.power_on(|_| {})?;
        let console = node.host.machine.console();
        checks.follow(console);
        let line = node.says(node.power_on(), &[READY])?;
        let lines = console.lines();
        checks.boot_of(name, &phases(&lines));
        checks.stages(&stages(&lines));
        self.ready_after = self.ready_after.max(line.at);
        let seconds = line.at.as_secs_f64();
        checks.note(
            name,
            Ok(Some(format!("ready {seconds:.1} s after power-on"))),
        );
        let certificate = node.fingerprint();
        let disk = Disk::read(&self.world.data_disk());
        let kept = disk.and_then(|disk| self.held.at_ready(&disk, certificate));
        checks.note(&format!("{name}-disk"), kept.map(Some));
        Ok(())
    }

    /// Cuts the power at a moment of this kind; `share` says how far into it, from 0 to 1.
    fn cut(&mut self, kind: Kind, share: f64) -> Result<(Cut, String)> {
        match kind {
            Kind::Refresh => {
                self.world.change_a_value()?;
                let since = self.world.node()?.host.machine.started().elapsed();
                self.cut_at(since + REFRESH.mul_f64(share))
            }
            Kind::First => {
                self.world.forget()?;
                self.held = Held::default();
                self.world.power_on(|_| {})?;
                self.cut_at(self.ready_after.mul_f64(share))
            }
            Kind::Later => {
                self.world.power_on(|_| {})?;
                self.cut_at(self.ready_after.mul_f64(share))
            }
        }
    }

    /// Looks at the disk of a machine whose power was cut.
    fn look(&mut self, kind: Kind, cut: &Cut) -> Result<String> {
        let disk = Disk::read(&self.world.data_disk())?;
        self.held.at_cut(kind, &disk, cut)
    }

    /// Kills the machine so long after power-on.
    fn cut_at(&mut self, at: Duration) -> Result<(Cut, String)> {
        let node = self.world.node()?;
        let machine = &node.host.machine;
        while machine.started().elapsed() < at {
            if self.context.signals.stop() {
                bail!("interrupted");
            }
            if let Some(status) = machine.ended() {
                bail!("the machine ended by itself ({status})");
            }
            thread::sleep(POLL);
        }
        let lines = machine.console().lines();
        let last = lines.last().map_or("nothing", |line| line.text.as_str());
        let said = format!(
            "{:.2} s after power-on, after: {last:.100}",
            at.as_secs_f64()
        );
        let cut = Cut {
            // What is said from now on does not count: it is said later than this.
            at: machine.started().elapsed(),
            is_formatted: node.has_said(node.power_on(), &[FORMATTED]),
            certificate: node.fingerprint(),
        };
        machine.kill();
        self.world.power_off();
        Ok((cut, said))
    }
}

/// Another one each time.
fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |now| now.as_secs())
}
