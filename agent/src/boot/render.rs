//! The configuration as files of the node's services: templates rendered, shown to the checkers of
//! those who read them, put in place as one, and then told to the units whose files have changed.
//!
//! One rendering at a time: one that was begun for a configuration that is replaced meanwhile comes to
//! its end before the next one begins, and what it has changed and told nobody is told then.
//!
//! I/O: reads templates; writes files below `/run`; runs checkers; has units reload and restart.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use templates::{Changes, Checked, Checker, CommitError, Root, Set};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Machine;
use super::configuration::Configuration;
use super::handover::Served;
#[cfg(doc)]
use super::hub;
use super::units::Units;
use crate::config::Config;

/// Where is remembered what was put in place, below the root. Memory, as the files are.
const STATE: &str = "run/cvm-agent/templates";

/// The only place for files, below the root: values are secret, and nothing else can be written to.
const DESTINATIONS: &str = "run/";

/// A checker that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// As long as this a configuration that was fetched is tried out. With what the fetching may take ([`hub::PATIENCE`]),
/// that is less than a reload may (`TimeoutStartSec=` of the unit).
const TRIAL: Duration = Duration::from_secs(25);

/// Most files that are said by name.
const SAID: usize = 10;

/// The image's templates, and where they are rendered to.
pub(super) struct Templates {
    directory: PathBuf,
    root: Root,
    turn: Arc<Mutex<()>>,
    /// A configuration was rendered: another has to be as good to replace it.
    is_in_place: AtomicBool,
}

/// The files of the node's services are of this configuration.
pub(super) struct Rendered(());

impl Rendered {
    /// There is nothing to render.
    pub(super) fn none() -> Self {
        Self(())
    }
}

/// Completes or undoes what an agent that was cut off has left. What cannot be done now is done, or
/// said, by the first rendering.
pub(super) async fn recover(machine: &Machine) {
    let Some(templates) = &machine.templates else {
        return;
    };
    let root = templates.root.clone();
    let recovered = spawn_blocking(move || {
        let are_told = root.recover()?.is_empty();
        Ok::<_, CommitError>((are_told, root.has_files()?))
    });
    match recovered.await {
        Ok(Ok((are_told, has_files))) => {
            templates.is_in_place.store(has_files, Ordering::Relaxed);
            if !are_told {
                tracing::info!("render: units have not been told of their last files yet");
            }
        }
        Ok(Err(error)) => tracing::warn!("render: {}", attested_http::Causes(&error)),
        Err(error) => tracing::error!("render: {error}"),
    }
}

impl Templates {
    /// As the image says, if it says so.
    pub(super) fn of(config: &Config, root: &Path) -> Option<Self> {
        let settings = config.boot.templates.as_ref()?;
        let directory = &settings.directory;
        Some(Self {
            directory: root.join(directory.strip_prefix("/").unwrap_or(directory)),
            root: Root::new(root, root.join(STATE)),
            turn: Arc::new(Mutex::new(())),
            is_in_place: AtomicBool::new(false),
        })
    }

    /// Whether a configuration could replace the one that is in place. Before there is one, any
    /// could: what is wrong with it, its rendering says.
    ///
    /// # Errors
    ///
    /// As [`Self::render`]; or a rendering that has begun before, and tells its units, takes too long to wait for.
    pub(super) async fn try_out(&self, configuration: &Configuration) -> anyhow::Result<()> {
        if !self.is_in_place.load(Ordering::Relaxed) {
            return Ok(());
        }
        let tried = timeout(TRIAL, self.checked(configuration, |_| Ok(())));
        let tried = tried.await.with_context(|| {
            let seconds = TRIAL.as_secs();
            format!("it could not be tried out within {seconds} s, as files of the former are taken up or checked")
        })?;
        tried.map(drop)
    }

    /// Renders, and says what came of it.
    ///
    /// # Errors
    ///
    /// Names template, line and key, or the checker, or the units that could not be told; never a
    /// value. Doing it again is always right: units that were told are not told again.
    pub(super) async fn render(
        &self,
        configuration: &Configuration,
        units: &Units,
        _: &Served,
    ) -> anyhow::Result<(Rendered, String)> {
        let commit = |checked: Checked| checked.commit().context("put files in place");
        let (turn, mut changes) = self.checked(configuration, commit).await?;
        self.is_in_place.store(true, Ordering::Relaxed);
        let outcome = said(&changes);
        tell(&mut changes, units).await?;
        changes.done()?;
        drop(turn);
        Ok((Rendered(()), outcome))
    }

    /// Renders and checks on a thread of its own, and does what is next there, too: if nobody waits
    /// for it any more, it still comes to its end. Nobody else's begins while the guard is held.
    async fn checked<T: Send + 'static>(
        &self,
        configuration: &Configuration,
        next: impl FnOnce(Checked) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<(OwnedMutexGuard<()>, T)> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (directory, root) = (self.directory.clone(), self.root.clone());
        let values = configuration.values().clone();
        let work = spawn_blocking(move || Ok((turn, next(check(&directory, &root, &values)?)?)));
        work.await.context("render")?
    }
}

fn check(directory: &Path, root: &Root, values: &Value) -> anyhow::Result<Checked> {
    let set = Set::read(directory)?;
    for (template, destination) in set.destinations() {
        ensure!(
            destination.starts_with(DESTINATIONS),
            "{template}: expected a template of a file below /run"
        );
    }
    let rendered = set.render(values)?;
    for warning in rendered.warnings() {
        tracing::warn!("render: {warning}");
    }
    Ok(rendered.check(root, run)?)
}

/// What a checker says is not shown to anybody: it quotes what it refuses.
fn run(checker: Checker<'_>) -> io::Result<ExitStatus> {
    let mut child = Command::new(checker.program)
        .args(checker.arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(POLL);
    }
}

/// Has units take up their files. One that fails keeps no other from its own.
async fn tell(changes: &mut Changes, units: &Units) -> anyhow::Result<()> {
    let owned = |units: BTreeSet<&str>| units.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (restart, reload) = (owned(changes.restart()), owned(changes.reload()));
    let mut failures = Vec::new();
    for unit in restart {
        match units.restart(&unit).await {
            Ok(()) => changes.told(&unit)?,
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    for unit in reload {
        match units.reload(&unit).await {
            Ok(()) => changes.told(&unit)?,
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("files are in place, but {}", failures.join("; "));
    }
    Ok(())
}

fn said(changes: &Changes) -> String {
    let files: Vec<_> = changes
        .destinations()
        .map(|(destination, kind)| format!("/{destination} {}", kind_text(kind)))
        .collect();
    if files.is_empty() {
        return "no file has changed".to_owned();
    }
    let shown = files.iter().take(SAID).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(SAID) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

fn kind_text(kind: templates::ChangeKind) -> &'static str {
    match kind {
        templates::ChangeKind::Written => "is written",
        templates::ChangeKind::Removed => "is removed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::hub;

    #[tokio::test(start_paused = true)]
    async fn a_trial_does_not_wait_for_a_rendering_that_does_not_end() {
        let root = tempfile::tempdir().unwrap();
        let templates = Templates {
            directory: root.path().join("templates"),
            root: Root::new(root.path(), root.path().join(STATE)),
            turn: Arc::default(),
            is_in_place: AtomicBool::new(true),
        };
        // A unit that does not reload is waited for with this held.
        let turn = Arc::clone(&templates.turn).lock_owned().await;
        let configuration = Configuration::empty();
        let begin = tokio::time::Instant::now();
        let tried = timeout(Duration::from_secs(3600), templates.try_out(&configuration)).await;
        let error = tried.unwrap().unwrap_err();
        assert!(error.to_string().contains("within 25 s"), "{error:#}");
        assert!(begin.elapsed() < Duration::from_secs(26));
        drop(turn);
        let tried = templates.try_out(&configuration).await;
        let said = tried.map_err(|error| format!("{error:#}"));
        assert!(!said.is_err_and(|it| it.contains("within")));
    }

    #[test]
    fn a_reload_ends_within_what_its_unit_allows() {
        let unit =
            include_str!("../../../meta-base/mkosi.extra/usr/lib/systemd/system/cvm-agent.service");
        let allowed = unit
            .lines()
            .find_map(|it| it.strip_prefix("TimeoutStartSec="));
        let allowed = allowed.and_then(|it| it.strip_suffix('s')).unwrap();
        let allowed = Duration::from_secs(allowed.parse().unwrap());
        assert!(hub::PATIENCE + TRIAL < allowed);
    }
}
