//! The data disk as a stage of the boot: waited for as long as it takes, opened or formatted, mounted, and
//! kept under the key that the configuration has.
//!
//! One worker does all that blocks. The boot may be broken off while it waits for the worker, as when the
//! configuration changes; what the worker has begun, such as a format, it brings to its end, and whoever
//! comes next waits for that.
//!
//! I/O: as `encrypted-disk` has it; starts the unit that lets go of the disk when the machine stops.

mod advice;
mod health;
mod worker;

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use encrypted_disk::{Key, Sysfs, System};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use self::health::Health;
pub(super) use self::worker::settings;
use self::worker::{CheckFailed, Job, NotFound, Worker};
use super::Machine;
use super::configuration::Configuration;
use super::progress::Stage;
use super::retry::{Backoff, until_done};
use super::space::Space;
use crate::config::disk::{Disk as Settings, KeySource};
use crate::notify::Notifier;

/// What closes the disk after everything that uses it, when the machine stops.
const CLOSER: &str = "cvm-disk.service";

/// A disk that is attached is found as soon as this.
const LOOK: Duration = Duration::from_secs(2);

/// A file system whose check fails is checked again after pauses that grow up to this.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(3600);

/// How often it is looked at once it is mounted.
const WATCH: Duration = Duration::from_secs(60);

/// The data disk is mounted, or the image has none.
pub(super) struct Data(());

/// The data disk, and who works on it.
pub(super) struct DataDisk {
    key: KeySource,
    worker: Arc<Mutex<Worker>>,
    confirmation: Arc<Confirmation>,
    /// The key that the mounted disk has; none until it is mounted.
    open: Arc<std::sync::Mutex<Option<Key>>>,
    /// Why that is not the configuration's, as it was said last.
    trouble: std::sync::Mutex<String>,
    /// Why the previous key is none, as it was said last.
    unusable: std::sync::Mutex<Option<String>>,
    /// Whether it still is what it was when it was mounted.
    health: Health,
}

/// What an operator has typed to have a refused disk formatted: its serial. It waits for a disk to be there, and is
/// good for one try then, whatever comes of it.
type Confirmation = watch::Sender<Option<String>>;

/// The keys of a configuration.
pub(super) struct Keyring {
    present: Key,
    previous: Option<Key>,
    /// Why the previous key that the configuration has is none.
    unusable: Option<String>,
}

impl DataDisk {
    pub(super) fn new(
        settings: &Settings,
        root: &Path,
        programs: &str,
        notifier: &Arc<Notifier>,
    ) -> Self {
        let confirmation = Arc::new(Confirmation::new(None));
        let open = Arc::default();
        let worker = Worker::new(
            settings,
            root,
            System::looking_in(programs),
            Arc::clone(&confirmation),
            Arc::clone(&open),
            Arc::clone(notifier),
        );
        Self {
            key: settings.key.clone(),
            worker: Arc::new(Mutex::new(worker)),
            confirmation,
            open,
            trouble: std::sync::Mutex::default(),
            unusable: std::sync::Mutex::default(),
            health: Health::of(settings, Sysfs::below(root)),
        }
    }

    /// Takes an operator's word that the disk of this serial is to be formatted if it is refused for what is
    /// on it. Another serial than the disk's has no effect, and is said.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the control socket will call it")
    )]
    pub(super) fn confirm_format(&self, serial: &str) {
        self.confirmation.send_replace(Some(serial.to_owned()));
    }

    /// The disk's keys, by the configuration. A previous key that cannot be used is as good as none: the present one
    /// opens the disk, and a slip in the other must not keep the node from it, nor from the rest of a configuration.
    ///
    /// # Errors
    ///
    /// The key itself is missing or no key.
    pub(super) fn keys(&self, configuration: &Configuration) -> anyhow::Result<Keyring> {
        let KeySource::Configuration { key, previous } = &self.key;
        let parse = |name: &str| -> anyhow::Result<Option<Key>> {
            let Some(text) = configuration.text(name)? else {
                return Ok(None);
            };
            let key = Key::parse(&text).with_context(|| format!("use {name}"))?;
            Ok(Some(key))
        };
        let is_set = |name: &str| -> anyhow::Result<bool> {
            let text = configuration.text(name)?;
            Ok(text.is_some_and(|text| !text.is_empty()))
        };
        // One that is not needed any more may be left empty.
        let previous = previous.as_ref().map(|name| match is_set(name) {
            Ok(true) => parse(name),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        });
        let (previous, unusable) = match previous {
            Some(Ok(previous)) => (previous, None),
            Some(Err(error)) => (None, Some(format!("{error:#}"))),
            None => (None, None),
        };
        let present = parse(key)?.with_context(|| format!("{key} is missing"))?;
        Ok(Keyring {
            present,
            previous,
            unusable,
        })
    }

    /// As [`Self::keys`]; that the previous key cannot be used is said, once.
    fn usable_keys(&self, configuration: &Configuration) -> anyhow::Result<Keyring> {
        let keys = self.keys(configuration)?;
        let mut said = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &keys.unusable
            && said.as_ref() != Some(why)
        {
            tracing::warn!("disk: there is a previous key, but none that can be used: {why}");
        }
        said.clone_from(&keys.unusable);
        Ok(keys)
    }

    /// Has the worker do this, after what it is doing.
    async fn work<T: Send + 'static>(&self, job: Job<T>) -> anyhow::Result<T> {
        let mut worker = Arc::clone(&self.worker).lock_owned().await;
        // It goes on if nobody waits for it any more, and the lock with it.
        let done = tokio::task::spawn_blocking(move || job(&mut worker));
        done.await.context("wait for the work on the disk")?
    }

    fn open_key(&self) -> Option<Key> {
        let open = self.open.lock();
        open.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until there is something typed that the worker has not taken.
    async fn confirmed(&self) {
        let mut typed = self.confirmation.subscribe();
        // The sender is ours, so that this does not fail.
        let _ = typed.wait_for(Option::is_some).await;
    }

    async fn attempt(&self, configuration: &Configuration) -> anyhow::Result<()> {
        let keys = self.usable_keys(configuration)?;
        self.work(Box::new(move |worker| worker.mount(&keys))).await
    }

    /// Gives the mounted disk the key of the configuration, if that is another one and the former is named beside
    /// it: a slip at the hub must not become the key of a disk. The old one stays if that fails; the same failure is
    /// said once.
    pub(super) async fn keep_key(&self, configuration: &Configuration) {
        let Some(open) = self.open_key() else {
            return;
        };
        let changed = match self.usable_keys(configuration) {
            Ok(keys) if keys.present == open => Ok(()),
            Ok(keys) if keys.previous.as_ref() != Some(&open) => Err(anyhow!(
                "the configuration has another one, and does not name the present one as the previous key; \
                 without either, the next boot cannot open the disk"
            )),
            Ok(keys) => {
                self.work(Box::new(move |worker| worker.change_key(&keys.present)))
                    .await
            }
            Err(error) => Err(error),
        };
        let text = changed.map_or_else(|error| format!("{error:#}"), |()| String::new());
        let mut said = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != text && !text.is_empty() {
            tracing::error!("disk: its key stays as it was: {text}");
        }
        *said = text;
    }
}

/// Waits until the disk is mounted. Without one in the drop-ins there is nothing to wait for.
pub(super) async fn mounted(machine: &Machine, configuration: &Configuration) -> Data {
    let Some(disk) = &machine.disk else {
        return Data(());
    };
    if disk.open_key().is_some() {
        disk.keep_key(configuration).await;
        return Data(());
    }
    let mut stage = machine.begin("disk");
    // Before the disk is open, so that it is never open without.
    let close_later = async || machine.units.start(CLOSER).await;
    until_done(&mut stage, close_later).await;
    wait(disk, configuration, &mut stage).await;
    stage.done("it is mounted");
    Data(())
}

/// Whether a node can become ready with the disk that was mounted.
///
/// # Errors
///
/// The disk has failed since.
pub(super) async fn is_well(machine: &Machine, _: &Data) -> anyhow::Result<()> {
    match &machine.disk {
        Some(disk) => disk.health.look().await,
        None => Ok(()),
    }
}

/// Keeps the mounted disk under the configuration's key, says how full it is, and whether it has failed, for ever.
///
/// A node that is ready stays so if its disk fails. What does not need the disk goes on; what does gets errors, and
/// knows better than this what to do with what it has in memory; and the machine's owner, who can take the disk away,
/// gets nothing more by it than that.
pub(super) async fn watch(
    machine: &Machine,
    configuration: &Configuration,
    _: &Data,
) -> Infallible {
    let Some((disk, settings)) = machine.disk.as_ref().zip(machine.config.boot.disk.as_ref())
    else {
        return pending().await;
    };
    let mut space = Space::of(&settings.settings.mount_point);
    loop {
        let is_well = disk.health.watch(&machine.notifier).await;
        if is_well {
            space.look();
        }
        sleep(WATCH).await;
        // Nothing is written to a disk that fails, or to another one.
        if is_well {
            disk.keep_key(configuration).await;
        }
    }
}

async fn wait(disk: &DataDisk, configuration: &Configuration, stage: &mut Stage<'_>) {
    let mut backoff = Backoff::default();
    let mut checks = Backoff::up_to(LONGEST_CHECK_PAUSE);
    loop {
        let begin = Instant::now();
        let Err(error) = disk.attempt(configuration).await else {
            return;
        };
        let failed = error.downcast_ref::<CheckFailed>();
        let pause = match failed {
            _ if error.is::<NotFound>() => LOOK,
            // One that took hours is not followed by another at once.
            Some(_) => checks.next().max(begin.elapsed().min(LONGEST_CHECK_PAUSE)),
            None => backoff.next(),
        };
        stage.waits(&error, pause);
        tokio::select! {
            () = sleep(pause) => {}
            () = disk.confirmed() => {}
            () = another(failed) => {}
        }
    }
}

/// Until the disk on which a check has failed is there no longer: another one may have come.
async fn another(failed: Option<&CheckFailed>) {
    let Some(CheckFailed { disk, .. }) = failed else {
        return pending().await;
    };
    while disk.is_there() {
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;
