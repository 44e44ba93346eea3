//! Whether an open and mounted data disk still is one: what the kernel says, without touching the disk.
//!
//! Who owns the machine can take the disk away, swap it or have it fail at any time, and nothing that is written to it
//! says so by itself: ext4 becomes read-only at its first error, and a mapping outlives its disk.
//!
//! I/O: reads sysfs and `/proc/self/mountinfo`.

use std::path::{Path, PathBuf};

use crate::find::{Disk, FindError, Selector, Sysfs};
use crate::settings::Settings;

/// What is wrong with a disk that was mounted.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing decrypts any more.
    #[error("its mapping {mapping} is there no longer")]
    NotMapped {
        /// The mapping's name.
        mapping: String,
    },

    /// The mapping is on nothing.
    #[error("it has gone away, and its mapping {mapping} is on nothing")]
    Gone {
        /// The mapping's name.
        mapping: String,
    },

    /// It is not found where it has to be, or the machine cannot be looked at.
    #[error("it cannot be found")]
    NotFound(#[from] FindError),

    /// There is a disk where it has to be, but that is not the one that is open.
    #[error("another disk, {name} (serial {serial:?}), is in its place")]
    Another {
        /// That disk's name.
        name: String,
        /// Its serial.
        serial: String,
    },

    /// Nothing, or something else, is mounted there.
    #[error("it is not mounted on {} any more", mount_point.display())]
    NotMounted {
        /// Where it was.
        mount_point: PathBuf,
    },

    /// Whoever wants to write gets an error.
    #[error("{what} has become read-only")]
    ReadOnly {
        /// The disk, or its file system, which does that after an error.
        what: &'static str,
    },
}

/// Looks at a disk that [`crate::Tools::prepare`] has made a volume. Nothing on the disk is read, so that this does
/// not hang with it.
///
/// # Errors
///
/// The first [`Trouble`], from the mapping up to the file system.
pub fn look(selector: &Selector, settings: &Settings, sysfs: &Sysfs) -> Result<(), Trouble> {
    let name = settings.mapping.clone();
    let Some(mapping) = sysfs.mapping(&name)? else {
        return Err(Trouble::NotMapped { mapping: name });
    };
    if mapping.disk.is_none() {
        return Err(Trouble::Gone { mapping: name });
    }
    let disk = Disk::find(selector, &name, sysfs)?;
    if disk.mapping.is_none() {
        let Disk { name, serial, .. } = disk;
        return Err(Trouble::Another { name, serial });
    }
    // What is mounted last hides what was there before.
    let mounts = sysfs.mounts()?;
    let is_there = |point: &str| Path::new(point) == settings.mount_point;
    let mount = mounts.iter().rev().find(|mount| is_there(&mount.point));
    let Some(mount) = mount.filter(|mount| Some(&mount.device) == mapping.number.as_ref()) else {
        let mount_point = settings.mount_point.clone();
        return Err(Trouble::NotMounted { mount_point });
    };
    let read_only = |what| Err(Trouble::ReadOnly { what });
    match (disk.is_read_only, mount.is_read_only) {
        (true, _) => read_only("the disk"),
        (_, true) => read_only("its file system"),
        _ => Ok(()),
    }
}
