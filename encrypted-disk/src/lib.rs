//! The node's data disk: finds it, decides, and opens it without believing it.
//!
//! Who owns the machine owns the disk, reads what is on it, changes it at any time, and shows another one. What the
//! node trusts is its key, which comes from elsewhere, and its own measured configuration.
//!
//! ```no_run
//! use encrypted_disk::{Disk, FindError, Key, Selector, Settings, Sysfs, System, Tools};
//!
//! fn data(key: &str) -> Result<(), Box<dyn std::error::Error>> {
//!     let (settings, sysfs) = (Settings::default(), Sysfs::default());
//!     let key = Key::parse(key)?;
//!     // Disks come late: who gets `FindError::NotThere` tries again.
//!     let disk = Disk::find(&Selector::AzureLun(10), &settings.mapping, &sysfs)?;
//!     let mut tools = Tools {
//!         settings: &settings,
//!         sysfs: &sysfs,
//!         run: &mut System::default(),
//!         progress: &mut |event| println!("{event}"),
//!     };
//!     let volume = tools.prepare(&disk, &key, None)?;
//!     println!("{} is ready", volume.mount_point.display());
//!     // At shutdown, after all services:
//!     tools.close()?;
//!     Ok(())
//! }
//! ```
//!
//! The story, in order: [`find`] finds the disk that the configuration names; [`inspect`](mod@inspect) looks
//! at it; [`plan`](mod@plan) decides, and only what is blank is ever formatted; the header is read once,
//! authenticated ([`record`]), checked against a closed list ([`luks`]), and given to cryptsetup as a copy in
//! memory; the file system is checked, grown and mounted. A disk that is refused is left as it is, and so is
//! a file system that cannot be repaired; an operator who types its serial ([`Confirmation`]) has it formatted. Where things are on the disk: [`layout`].
//!
//! What it does not protect from: the disk's owner can destroy data, can put back an older state of the whole
//! disk, and can change single blocks of ciphertext, which decrypt to noise: neither LUKS nor ext4
//! authenticates data. A disk that the owner has emptied is a blank disk; see
//! [`Settings::formats_blank`].
//!
//! Everything blocks; asynchronous callers use a thread. Left out: keys sealed by a TPM.
//!
//! I/O: sysfs, the disk's device, a folder in tmpfs, and the programs blkid, wipefs, cryptsetup, mkfs.ext4,
//! e2fsck, resize2fs, dmsetup, and mount and umount or systemd-mount.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

mod confirmation;
mod cryptsetup;
mod device;
mod error;
mod file_system;
pub mod find;
pub mod inspect;
mod key;
pub mod layout;
pub mod luks;
pub mod plan;
pub mod record;
pub mod run;
mod scratch;
mod settings;
mod slots;
mod steps;
mod tools;
pub mod watch;

pub use confirmation::{Confirmation, ConfirmationError};
pub use error::DiskError;
pub use file_system::Checked;
pub use find::{Disk, FindError, Selector, Sysfs};
pub use inspect::{InspectError, Inspection, inspect};
pub use key::{Key, KeyError, KeyId, Keys};
pub use plan::{Plan, Refusal, plan};
pub use run::{Call, Output, Run, RunError, System};
pub use scratch::sweep;
pub use settings::{Check, Mounts, Settings};
pub use slots::OpenRefusal;
pub use tools::{Event, Tools, Volume};
