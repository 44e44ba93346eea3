//! Who works on the disk: one at a time, in a thread of its own.
//!
//! I/O: as `encrypted-disk` has it; logs; notifies systemd.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use anyhow::anyhow;
use attested_http::Causes;
use encrypted_disk::{
    Confirmation, Disk, DiskError, Event, FindError, Key, Keys, Mounts, Selector, Settings, Sysfs,
    System, Tools,
};

use super::Keyring;
use super::advice::advice;
use crate::config::disk::{Disk as Configured, KeySource};
use crate::notify::Notifier;

/// Something to do for the worker.
pub(super) type Job<T> = Box<dyn FnOnce(&mut Worker) -> anyhow::Result<T> + Send>;

/// There is no disk to work on yet.
#[derive(Debug)]
pub(super) struct NotFound(String);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// The file system could not be checked, which is as it was the next time, unless something changes.
#[derive(Debug)]
pub(super) struct CheckFailed {
    text: String,
    /// On which disk.
    pub(super) disk: Disk,
}

impl fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CheckFailed {}

/// Has all that it takes to work on the disk.
pub(super) struct Worker {
    selector: Selector,
    settings: Settings,
    source: KeySource,
    sysfs: Sysfs,
    run: System,
    confirmation: Arc<super::Confirmation>,
    open: Arc<std::sync::Mutex<Option<Key>>>,
    notifier: Arc<Notifier>,
}

impl Worker {
    pub(super) fn new(
        configured: &Configured,
        root: &Path,
        run: System,
        confirmation: Arc<super::Confirmation>,
        open: Arc<std::sync::Mutex<Option<Key>>>,
        notifier: Arc<Notifier>,
    ) -> Self {
        let settings = settings(configured, root);
        match encrypted_disk::sweep(&settings.scratch) {
            Ok(0) => {}
            Ok(count) => tracing::info!("disk: removed {count} headers in memory that were left"),
            Err(error) => tracing::warn!("disk: remove headers in memory that were left: {error}"),
        }
        Self {
            selector: configured.selector.clone(),
            settings,
            source: configured.key.clone(),
            sysfs: Sysfs::below(root),
            run,
            confirmation,
            open,
            notifier,
        }
    }

    /// Makes the disk a mounted file system, if it is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`], or what is wrong with the disk and what can be done about it.
    pub(super) fn mount(&mut self, keys: &Keyring) -> anyhow::Result<()> {
        let disk = self.find()?;
        let confirmation = self.confirmation(&disk);
        let Keyring {
            present, previous, ..
        } = keys;
        let both = Keys {
            present,
            previous: previous.as_ref(),
        };
        // What the disk has in the end.
        let mut key = present;
        self.with_tools(&disk, |tools, told| {
            let prepared = tools.prepare(&disk, both, confirmation);
            let is_kept = |event: &Event| matches!(event, Event::KeyNotChanged { .. });
            if told.borrow().iter().any(is_kept) {
                key = previous.as_ref().unwrap_or(present);
            }
            prepared
        })?;
        self.set_open(key);
        Ok(())
    }

    /// Gives the mounted disk this key.
    ///
    /// # Errors
    ///
    /// The disk has the key that it had.
    pub(super) fn change_key(&mut self, new: &Key) -> anyhow::Result<()> {
        let open = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Somebody may have done it meanwhile.
        let Some(old) = open.filter(|old| old != new) else {
            return Ok(());
        };
        let disk = self.find()?;
        self.with_tools(&disk, |tools, _| tools.change_key(&disk, &old, new))?;
        self.set_open(new);
        Ok(())
    }

    fn set_open(&self, key: &Key) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
    }

    fn find(&self) -> anyhow::Result<Disk> {
        let found = Disk::find(&self.selector, &self.settings.mapping, &self.sysfs);
        found.map_err(|error| match error {
            FindError::NotThere { .. } => NotFound(error.to_string()).into(),
            _ => anyhow!("{}", Causes(&error)),
        })
    }

    /// What an operator has typed, if it is this disk's serial. Whatever it is, it is used up.
    fn confirmation(&self, disk: &Disk) -> Option<Confirmation> {
        let typed = self.confirmation.send_replace(None)?;
        let confirmed = Confirmation::of(disk, &typed);
        confirmed
            .inspect_err(|error| tracing::error!("disk: not confirmed: {error}"))
            .ok()
    }

    /// Works on the disk; what happens is told, and kept for whoever wants to know.
    fn with_tools<T>(
        &mut self,
        disk: &Disk,
        work: impl FnOnce(&mut Tools<'_>, &RefCell<Vec<Event>>) -> Result<T, DiskError>,
    ) -> anyhow::Result<T> {
        let told = RefCell::new(Vec::new());
        let notifier = &self.notifier;
        let mut tools = Tools {
            settings: &self.settings,
            sysfs: &self.sysfs,
            run: &mut self.run,
            progress: &mut |event| {
                say(disk, &event, notifier);
                told.borrow_mut().push(event);
            },
        };
        work(&mut tools, &told).map_err(|error| {
            let (name, serial) = (&disk.name, &disk.serial);
            let causes = Causes(&error);
            let advice = advice(&error, disk, &self.source);
            let text = format!("{name} (serial {serial:?}): {causes}{advice}");
            if !error.is_of_check() {
                return anyhow!(text);
            }
            let disk = disk.clone();
            CheckFailed { text, disk }.into()
        })
    }
}

/// How the disk is used by this program.
pub(in crate::boot) fn settings(configured: &Configured, root: &Path) -> Settings {
    Settings {
        scratch: root.join("run"),
        // The agent's units have mount namespaces of their own.
        mounts: Mounts::BySystemd,
        ..configured.settings.clone()
    }
}

fn say(disk: &Disk, event: &Event, notifier: &Notifier) {
    let Disk { name, serial, .. } = disk;
    let text = format!("disk: {name} (serial {serial:?}): {event}");
    match event {
        // Said as the reason why the stage waits.
        Event::Planned(encrypted_disk::Plan::Refuse(_)) => return,
        Event::Wipes
        | Event::LeftOverRemoved
        | Event::Repaired(_)
        | Event::NotRepaired { .. }
        | Event::KeyNotChanged { .. } => tracing::warn!("{text}"),
        _ => tracing::info!("{text}"),
    }
    notifier.send(&format!("STATUS={text}"));
}
