//! What can go wrong with a disk.
//!
//! I/O: looks whether the disk is still there.

use std::io;

use crate::ConfirmationError;
use crate::find::{Disk, FindError};
use crate::inspect::InspectError;
use crate::luks::HeaderError;
use crate::plan::Refusal;
use crate::run::RunError;
use crate::slots::OpenRefusal;

/// Why there is no mounted disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It was left alone, for what was seen on it.
    #[error("the disk is left alone")]
    Refused(#[from] Refusal),

    /// It was left alone, for what the key says about it.
    #[error("the disk is not opened")]
    NotOpened(#[from] OpenRefusal),

    /// It could not be looked at.
    #[error("look at the disk")]
    Inspect(#[from] InspectError),

    /// The disk's device failed.
    #[error("{action}")]
    Device {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// The folder for headers failed.
    #[error("keep the header in memory")]
    Scratch(#[source] io::Error),

    /// A program failed.
    #[error("use the disk")]
    Run(#[from] RunError),

    /// cryptsetup made a header that is not as it has to be.
    #[error("make a header")]
    Made(#[source] HeaderError),

    /// cryptsetup made a header that does not take the key.
    #[error("cryptsetup has made a header that does not take the key")]
    MadeForAnotherKey,

    /// The disk is being formatted.
    #[error("the disk is half-formatted")]
    HalfFormatted,

    /// The file system has damage that is not repaired without being told to.
    #[error("the file system is damaged (e2fsck: {code}): {said}")]
    FileSystem {
        /// The exit code.
        code: i32,
        /// The beginning of what e2fsck said, on one plain line.
        said: String,
    },

    /// e2fsck could not check the file system, and has proven nothing about it.
    #[error("the file system could not be checked (e2fsck: {code}): {said}")]
    Unchecked {
        /// The exit code.
        code: i32,
        /// The beginning of what e2fsck said, on one plain line.
        said: String,
    },

    /// e2fsck came to no end.
    #[error("check the file system")]
    Check(#[source] RunError),

    /// The kernel's tree could not be read.
    #[error("look at the machine")]
    Find(#[from] FindError),

    /// The confirmation is for another disk.
    #[error(transparent)]
    Confirmation(#[from] ConfirmationError),

    /// Our mapping's name is taken: by something else, or by a disk that is not the one that is meant.
    #[error("the mapping {mapping} is there already, on {user}")]
    MappingTaken {
        /// Its name.
        mapping: String,
        /// What it is on.
        user: String,
    },

    /// The mapping is of a disk that has gone away, and is still in use. As soon as nothing uses it, the
    /// next try removes it.
    #[error("the mapping {mapping} is left over from a disk that has gone away, and is in use")]
    LeftOver {
        /// Its name.
        mapping: String,
        /// Why it could not be removed.
        #[source]
        source: Box<Self>,
    },

    /// Another disk has got the disk's name while it was opened. Nothing was written to it.
    #[error("the disk {name} was replaced by another one while it was opened")]
    Replaced {
        /// The name.
        name: String,
    },

    /// The disk went away meanwhile, or another one has its name.
    #[error("the disk {name} has gone away")]
    Vanished {
        /// Its name.
        name: String,
        /// What failed because of it.
        #[source]
        source: Box<Self>,
    },
}

impl DiskError {
    /// Whether an operator's [`crate::Confirmation`] leads on: the disk is there, and sound, but for what is
    /// on it. If it is false, trying again may help.
    ///
    /// A damaged file system is among these, although the disk is ours and its key right. Every start ends at the
    /// same damage, the machine has no shell for a repair by hand, and what `e2fsck -y` would do is for an image that
    /// says so ([`crate::Check::DangerRepairAll`]). Who has tried that, or has the data elsewhere, must
    /// be able to go on with this disk, and by nothing less than the serial typed back. A file system that could
    /// not be checked is not among them, even if its superblock is not recognised: e2fsck has one code for that and
    /// for a device that fails, and a failing device is no reason to wipe it.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_about_content(),
            Self::NotOpened(refusal) => refusal.is_about_content(),
            Self::FileSystem { .. } => true,
            _ => false,
        }
    }

    /// Whether the check of the file system has failed, which may have taken hours and is as it was the next
    /// time, unless something else changes.
    pub fn is_of_check(&self) -> bool {
        matches!(
            self,
            Self::FileSystem { .. } | Self::Unchecked { .. } | Self::Check(_)
        )
    }

    /// The error with its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    pub(crate) fn scratch(source: io::Error) -> Self {
        Self::Scratch(source)
    }

    /// If the disk is gone, that is the reason.
    pub(crate) fn or_vanished(self, disk: &Disk) -> Self {
        if disk.is_there() {
            return self;
        }
        Self::Vanished {
            name: disk.name.clone(),
            source: Box::new(self),
        }
    }
}
