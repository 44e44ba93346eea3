//! Finds the one disk that is meant.
//!
//! A [`Selector`] comes from the measured configuration and names exactly one disk, by what the
//! platform says about where it is plugged in. It is never guessed: two disks that match are an
//! error, and so is one that is in use, as the boot disk is, whose partition dm-verity holds. Partitions are
//! not disks. Everything is read from sysfs, as udev may lag behind, but for names below
//! `/dev/disk/by-id`, which udev makes.
//!
//! What sysfs says comes from the host. A host that shows another disk at the right place gets no
//! further than [`crate::Tools::prepare`], which authenticates what is on it.
//!
//! I/O: reads sysfs, `/proc/self/mountinfo` and links in `/dev/disk/by-id`, below a root.

mod azure;
mod mounts;
mod selector;
mod sysfs;

use std::path::PathBuf;

pub(crate) use self::mounts::Mount;
pub use self::selector::Selector;
pub use self::sysfs::Sysfs;

/// Why there is no disk to go on with. What [may pass](FindError::may_pass) is no reason to give up.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It is not there; it may come.
    #[error("no disk {selector}")]
    NotThere {
        /// What was looked for.
        selector: Selector,
    },

    /// Several match, and none is better.
    #[error("{} are all {selector}", names.join(", "))]
    Ambiguous {
        /// What was looked for.
        selector: Selector,
        /// The disks.
        names: Vec<String>,
    },

    /// It is used by something else, as the boot disk is.
    #[error("{name} is {selector}, but {user} uses it")]
    InUse {
        /// What was looked for.
        selector: Selector,
        /// The disk.
        name: String,
        /// What uses it.
        user: String,
    },

    /// The kernel's tree could not be read. It changes while it is read: disks come and go.
    #[error("read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// The kernel says something that is not as it should be.
    #[error("{path} has {actual:?}, expected {expected}")]
    Value {
        /// Where.
        path: PathBuf,
        /// What there should be.
        expected: &'static str,
        /// What there is.
        actual: String,
    },
}

impl FindError {
    /// Whether looking again later may find the disk: it comes, is let go of, or the tree can be read. The
    /// others stay as they are until somebody plugs in or configures something else.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotThere { .. } | Self::InUse { .. } | Self::Read { .. } => true,
            Self::Ambiguous { .. } | Self::Value { .. } => false,
        }
    }
}

/// A whole disk that nobody uses but, maybe, our own mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name: `sdb`.
    pub name: String,
    /// Its device: `/dev/sdb`.
    pub device: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Whether it cannot be written.
    pub is_read_only: bool,
    /// What tells it from others: its serial, else its world-wide name, else its name and size.
    /// The operator types this to confirm that it is formatted.
    pub serial: String,
    /// The mapping that holds it already, if this process has run before.
    pub mapping: Option<String>,
    /// The serial, but without the name, which another start may give to another disk.
    pub(crate) identity: Option<String>,
    /// The kernel's number for this disk, which no other one gets before the next start, whatever name
    /// it has.
    pub(crate) sequence: Option<u64>,
    pub(crate) entry: PathBuf,
}

impl Disk {
    /// The disk that a selector names. `mapping` is the name of our own mapping: what it holds is
    /// not in use by others.
    ///
    /// # Errors
    ///
    /// [`FindError`], which says whether it makes sense to [look again](FindError::may_pass).
    pub fn find(selector: &Selector, mapping: &str, sysfs: &Sysfs) -> Result<Self, FindError> {
        let mut found = Vec::new();
        for entry in sysfs.disks()? {
            if selector.matches(&entry, sysfs)? {
                found.push(entry);
            }
        }
        let name = |entry: &PathBuf| sysfs::name(entry);
        match found.as_slice() {
            [] => Err(FindError::NotThere {
                selector: selector.clone(),
            }),
            [entry] => match sysfs.user(entry, mapping)? {
                Some(user) => Err(FindError::InUse {
                    selector: selector.clone(),
                    name: name(entry),
                    user,
                }),
                None => sysfs.disk(entry, mapping),
            },
            several => Err(FindError::Ambiguous {
                selector: selector.clone(),
                names: several.iter().map(name).collect(),
            }),
        }
    }

    /// Whether the kernel still has it: this disk, not one that has got its name since.
    pub fn is_there(&self) -> bool {
        let sequence = sysfs::sequence(&self.entry);
        self.entry.exists() && sequence.is_ok_and(|sequence| sequence == self.sequence)
    }
}
