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

use crate::cryptsetup;
use crate::error::DiskError;
use crate::file_system::{self, Checked};
use crate::find::{Disk, Sysfs};
use crate::inspect::inspect;
use crate::key::Key;
use crate::layout::Slot;
use crate::plan::{Plan, Refusal, plan};
use crate::run::{Call, Output, Run, failed, succeed};
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
    /// The file system was checked.
    Checked(Checked),
    /// The file system is mounted.
    Mounted,
    /// The disk takes another key now, and the old one no longer.
    KeyChanged,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned(Plan::Open) => "the disk looks like ours",
            Self::Planned(Plan::Format) => "the disk is blank",
            Self::Planned(Plan::Refuse(refusal)) => return write!(f, "{refusal}"),
            Self::AlreadyOpen => "the disk is open already",
            Self::FormatsAgain => "formatting was interrupted, and begins again",
            Self::Wipes => "as the operator has confirmed, what is on the disk is wiped",
            Self::Formats => "the disk is formatted",
            Self::Formatted => "the disk is formatted and ready",
            Self::Opened => "the disk is open",
            Self::Repaired(slot) => return write!(f, "slot {slot} of the header was repaired"),
            Self::Checked(Checked::Clean) => "the file system is clean",
            Self::Checked(Checked::Repaired) => "the file system had damage, which is repaired",
            Self::Mounted => "the file system is mounted",
            Self::KeyChanged => "the disk has another key",
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
    /// A `confirmation` formats a disk that is refused, and only then: a disk that can be opened is opened.
    ///
    /// # Errors
    ///
    /// [`DiskError`]. The disk is as it was, unless it was being formatted, which begins again at the next
    /// try; a mapping may be left open, with which a next try goes on that begins with [`Disk::find`].
    pub fn prepare(
        &mut self,
        disk: &Disk,
        key: &Key,
        confirmation: Option<&Confirmation>,
    ) -> Result<Volume, DiskError> {
        let prepared = self.prepare_unexplained(disk, key, confirmation);
        prepared.map_err(|error| error.or_vanished(disk))
    }

    fn prepare_unexplained(
        &mut self,
        disk: &Disk,
        key: &Key,
        confirmation: Option<&Confirmation>,
    ) -> Result<Volume, DiskError> {
        let is_new = match (self.open_or_format(disk, key), confirmation) {
            (Err(refusal), Some(confirmation)) if refusal.is_about_content() => {
                if !confirmation.is_for(disk) {
                    let expected = disk.serial.clone();
                    return Err(ConfirmationError { expected }.into());
                }
                if disk.mapping.is_some() {
                    self.close()?;
                }
                self.wipe(disk)?;
                self.format(disk, key, 0)?;
                true
            }
            (opened, _) => opened?,
        };
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

    /// Whether the disk was formatted.
    fn open_or_format(&mut self, disk: &Disk, key: &Key) -> Result<bool, DiskError> {
        if disk.mapping.is_some() {
            self.tell(Event::AlreadyOpen);
            return self.open(disk, key);
        }
        let plan = plan(&inspect(disk, self.run)?);
        self.tell(Event::Planned(plan.clone()));
        match plan {
            Plan::Refuse(refusal) => Err(refusal.into()),
            Plan::Format if !self.settings.formats_blank => Err(Refusal::FormatNotAllowed.into()),
            Plan::Format => self.format(disk, key, 0).map(|()| true),
            Plan::Open => self.open(disk, key),
        }
    }

    fn check(&mut self) -> Result<(), DiskError> {
        let call = file_system::check(self.settings);
        let output = self.run.run(&call)?;
        let Some(checked) = file_system::checked(output.code) else {
            return Err(DiskError::FileSystem {
                code: output.code,
                said: [output.stdout.trim(), &output.stderr].join(" "),
            });
        };
        self.tell(Event::Checked(checked));
        Ok(())
    }

    fn is_mounted(&self) -> Result<bool, DiskError> {
        let number = self.sysfs.mapping_number(&self.settings.mapping)?;
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
