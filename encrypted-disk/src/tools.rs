//! What it takes to work on a disk, and the way from a disk to a mounted file system.
//!
//! I/O: through what is in [`Tools`], and the disk's device.

mod change_key;
mod close;
mod format;
mod grow;
mod open;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cryptsetup;
use crate::error::DiskError;
use crate::file_system::{self, Checked};
use crate::find::{Disk, Sysfs};
use crate::inspect::inspect;
use crate::key::{Key, Keys};
use crate::layout::Slot;
use crate::plan::{Plan, Refusal, doubt, plan};
use crate::run::{Call, Output, Run, failed, one_line, succeed};
use crate::settings::Settings;
use crate::{Confirmation, ConfirmationError};

/// Settings, and who does what is asked.
pub struct Tools<'a> {
    /// How the disk is used.
    pub settings: &'a Settings,
    /// The kernel's view.
    pub sysfs: &'a Sysfs,
    /// Who runs programs.
    pub run: &'a mut dyn Run,
    /// Is told what happens, as it happens.
    pub progress: &'a mut dyn FnMut(Event),
}

/// What happens. As text, it is an event for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The disk was looked at, and this was decided.
    Planned(Plan),
    /// The disk is open already: this program has run before.
    AlreadyOpen,
    /// The mapping of a disk that has gone away was removed.
    LeftOverRemoved,
    /// An interrupted formatting begins again.
    FormatsAgain,
    /// An operator has confirmed it: what is on the disk goes.
    Wipes,
    /// A header and a file system are made.
    Formats,
    /// The file system is made, and the disk is ready.
    Formatted,
    /// The disk is mapped.
    Opened,
    /// This slot was damaged or old, and is like the other one now.
    Repaired(Slot),
    /// This slot is damaged or old, and could not be written: there is only one now.
    NotRepaired {
        /// Which.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// The file system was checked.
    Checked(Checked),
    /// The file system is mounted.
    Mounted,
    /// The disk takes another key now, and the old one no longer.
    KeyChanged,
    /// The disk wanted the previous key and is open with it, and keeps it: that could not be changed.
    KeyNotChanged {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned(Plan::Open) => "the disk looks like ours",
            Self::Planned(Plan::Format) => "the disk is blank",
            Self::Planned(Plan::Refuse(refusal)) => return write!(f, "{refusal}"),
            Self::AlreadyOpen => "the disk is open already",
            Self::LeftOverRemoved => "the mapping of a disk that has gone away was removed",
            Self::FormatsAgain => "formatting was interrupted, and begins again",
            Self::Wipes => "as the operator has confirmed, what is on the disk is wiped",
            Self::Formats => "the disk is being formatted",
            Self::Formatted => "the disk is formatted and ready",
            Self::Opened => "the disk is open",
            Self::Repaired(slot) => return write!(f, "slot {slot} of the header was repaired"),
            Self::NotRepaired { slot, reason } => {
                return write!(f, "slot {slot} of the header was not repaired: {reason}");
            }
            Self::Checked(Checked::Clean) => "the file system is clean",
            Self::Checked(Checked::Repaired) => "the file system had damage, which is repaired",
            Self::Mounted => "the file system is mounted",
            Self::KeyChanged => "the disk has another key",
            Self::KeyNotChanged { reason } => {
                return write!(f, "the disk keeps the previous key: {reason}");
            }
        })
    }
}

/// A mounted data disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The mapping's device.
    pub device: PathBuf,
    /// Where the file system is.
    pub mount_point: PathBuf,
    /// Whether it was made just now, and is empty.
    pub is_new: bool,
}

impl Tools<'_> {
    /// Makes a disk a mounted file system: looks, decides, formats it if it is blank or opens it
    /// if it is ours, checks the file system, grows it to the disk's size, mounts it. What was done before, as by
    /// an earlier run of this program, is not done again.
    ///
    /// A disk that is still under the previous of two `keys` is opened with it and given the present one, slot by
    /// slot: one of the two opens it at any time. If that fails, it is said, and the disk is used all the same.
    ///
    /// A `confirmation` formats a disk that is refused for what is on it
    /// ([`DiskError::is_about_content`]), and only then: a disk that can be used is used. It is good for this
    /// one call.
    ///
    /// # Errors
    ///
    /// [`DiskError`]. The disk is as it was, unless it was being formatted, which begins again at the next
    /// try; a mapping may be left open, with which a next try goes on that begins with [`Disk::find`].
    pub fn prepare<'a>(
        &mut self,
        disk: &Disk,
        keys: impl Into<Keys<'a>>,
        confirmation: Option<Confirmation>,
    ) -> Result<Volume, DiskError> {
        let prepared = self.prepare_unexplained(disk, keys.into(), confirmation);
        prepared.map_err(|error| error.or_vanished(disk))
    }

    fn prepare_unexplained(
        &mut self,
        disk: &Disk,
        keys: Keys<'_>,
        confirmation: Option<Confirmation>,
    ) -> Result<Volume, DiskError> {
        self.remove_left_over(disk)?;
        let error = match self.bring_up(disk, keys) {
            Err(error) if error.is_about_content() => error,
            done => return done,
        };
        let Some(confirmation) = confirmation else {
            return Err(error);
        };
        if !confirmation.is_for(disk) {
            let expected = disk.serial.clone();
            return Err(ConfirmationError { expected }.into());
        }
        // It may have come as far as to be mapped.
        self.close()?;
        self.wipe(disk)?;
        self.format(disk, keys.present, 0)?;
        self.mount(true)
    }

    fn bring_up(&mut self, disk: &Disk, keys: Keys<'_>) -> Result<Volume, DiskError> {
        let is_new = self.open_or_format(disk, keys)?;
        self.mount(is_new)
    }

    /// Whether the disk was formatted.
    fn open_or_format(&mut self, disk: &Disk, keys: Keys<'_>) -> Result<bool, DiskError> {
        if disk.mapping.is_some() {
            self.tell(Event::AlreadyOpen);
            return self.open(disk, keys, None);
        }
        let seen = inspect(disk, self.run)?;
        let plan = plan(&seen);
        self.tell(Event::Planned(plan.clone()));
        match plan {
            Plan::Refuse(refusal) => Err(refusal.into()),
            Plan::Format if !self.settings.formats_blank => Err(Refusal::FormatNotAllowed.into()),
            Plan::Format => self.format(disk, keys.present, 0).map(|()| true),
            Plan::Open => self.open(disk, keys, doubt(&seen)),
        }
    }

    /// Checks and mounts what is mapped.
    fn mount(&mut self, is_new: bool) -> Result<Volume, DiskError> {
        let volume = Volume {
            device: file_system::device(self.settings),
            mount_point: self.settings.mount_point.clone(),
            is_new,
        };
        if !self.is_mounted()? {
            self.check()?;
            self.succeed(&file_system::mount(self.settings))?;
            self.tell(Event::Mounted);
        }
        if !is_new {
            self.succeed(&file_system::grow(self.settings))?;
        }
        Ok(volume)
    }

    /// Makes room for our mapping before anything is written: its name must not be taken. A disk that went away
    /// while it was open leaves its mapping, which is worth nothing, to the one that is plugged in next.
    fn remove_left_over(&mut self, disk: &Disk) -> Result<(), DiskError> {
        if disk.mapping.is_some() {
            return Ok(());
        }
        let mapping = self.settings.mapping.clone();
        let Some(found) = self.sysfs.mapping(&mapping)? else {
            return Ok(());
        };
        let user = match found.disk {
            Some(user) => user,
            None if found.is_luks => {
                let removed = self.release(Duration::ZERO);
                removed.map_err(|error| DiskError::LeftOver {
                    mapping,
                    source: Box::new(error),
                })?;
                self.tell(Event::LeftOverRemoved);
                return Ok(());
            }
            None => "something that is not a disk of ours".to_owned(),
        };
        Err(DiskError::MappingTaken { mapping, user })
    }

    fn check(&mut self) -> Result<(), DiskError> {
        let call = file_system::check(self.settings);
        let output = self.run.run(&call).map_err(DiskError::Check)?;
        let Some(checked) = file_system::checked(output.code) else {
            let code = output.code;
            let said = [output.stdout, output.stderr].join(" ");
            let said = one_line(&said, file_system::SAID);
            return Err(match file_system::is_damage(code) {
                true => DiskError::FileSystem { code, said },
                false => DiskError::Unchecked { code, said },
            });
        };
        self.tell(Event::Checked(checked));
        Ok(())
    }

    fn is_mounted(&self) -> Result<bool, DiskError> {
        let mapping = self.sysfs.mapping(&self.settings.mapping)?;
        let number = mapping.and_then(|mapping| mapping.number);
        let mounts = self.sysfs.mounts()?;
        let is_it = |mount: &crate::find::Mount| {
            // By components: a slash at the end is none.
            Path::new(&mount.point) == self.settings.mount_point
                && Some(&mount.device) == number.as_ref()
        };
        Ok(mounts.iter().any(is_it))
    }

    /// Whether cryptsetup takes the key for this header.
    fn takes(&mut self, header: &std::path::Path, key: &Key) -> Result<bool, DiskError> {
        let call = cryptsetup::try_key(header, key);
        let output = self.run.run(&call)?;
        match output.code {
            0 => Ok(true),
            cryptsetup::NO_KEY => Ok(false),
            _ => Err(failed(&call, output).into()),
        }
    }

    fn succeed(&mut self, call: &Call<'_>) -> Result<Output, DiskError> {
        Ok(succeed(self.run, call)?)
    }

    fn tell(&mut self, event: Event) {
        (self.progress)(event);
    }
}

impl fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tools = f.debug_struct("Tools");
        tools
            .field("settings", self.settings)
            .finish_non_exhaustive()
    }
}
