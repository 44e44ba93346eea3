//! What is asked of the programs for ext4 and mounts.
//!
//! I/O: none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::Call;
use crate::settings::{Check, Mounts, Settings};

/// A check of a large file system that was not unmounted reads all of its metadata.
const LONG: Duration = Duration::from_secs(6 * 60 * 60);

/// The journal may have much to replay.
const MOUNTING: Duration = Duration::from_secs(30 * 60);

/// Much may have to be written.
const UNMOUNTING: Duration = Duration::from_secs(10 * 60);

/// The mapping's device.
pub(crate) fn device(settings: &Settings) -> PathBuf {
    Path::new("/dev/mapper").join(&settings.mapping)
}

/// Makes the file system. Inode tables are zeroed later, by the kernel, as that takes minutes for a
/// terabyte; its journal is zeroed now. One per cent is root's, and an error makes it read-only.
pub(crate) fn make(settings: &Settings) -> Call<'static> {
    let discard = if settings.discards {
        "discard"
    } else {
        "nodiscard"
    };
    let options = format!("lazy_itable_init=1,lazy_journal_init=0,{discard}");
    // What is there is half of an earlier try: no question is to be asked.
    Call::new("mkfs.ext4", ["-q", "-F", "-b", "4096", "-m", "1"])
        .and("-L")
        .and("data")
        .and("-e")
        .and("remount-ro")
        .and("-E")
        .and(options)
        .and(device(settings))
        .within(LONG)
}

/// As much of what e2fsck says is kept, in characters: the disk, which is not to be believed, chooses most of it.
pub(crate) const SAID: usize = 300;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing.
    Clean,
    /// Damage, which is repaired.
    Repaired,
}

/// Replays the journal, and checks what has to be checked.
pub(crate) fn check(settings: &Settings) -> Call<'static> {
    let how = match settings.check {
        Check::Safe => "-p",
        Check::DangerRepairAll => "-y",
    };
    Call::new("e2fsck", [how])
        .and(device(settings))
        .within(LONG)
}

/// Whether a failed check proves that the file system is damaged: e2fsck has found what it leaves (4). The others
/// prove nothing about what is on the disk: they are about how e2fsck was called (16), that it was stopped (32), or
/// that it could not work (8), for want of memory, of the device, or of a superblock that it recognises.
pub(crate) fn is_damage(code: i32) -> bool {
    code & 4 != 0 && code < 16
}

/// What e2fsck's exit code says: bits, of which 1 and 2 are repairs, and all others failures. That the
/// machine should restart, 2, is said of file systems that were in use.
pub(crate) fn checked(code: i32) -> Option<Checked> {
    match code {
        0 => Some(Checked::Clean),
        1..=3 => Some(Checked::Repaired),
        _ => None,
    }
}

/// Makes a mounted file system as large as its device.
pub(crate) fn grow(settings: &Settings) -> Call<'static> {
    Call::new("resize2fs", [device(settings)]).within(LONG)
}

/// Mounts it.
pub(crate) fn mount(settings: &Settings) -> Call<'static> {
    let mut options = "nosuid,nodev,noatime".to_owned();
    if !settings.executes {
        options.push_str(",noexec");
    }
    let call = match settings.mounts {
        Mounts::Here => Call::new("mount", ["-t", "ext4", "-o"]).and(options),
        Mounts::BySystemd => {
            // Not without the unit's name again, if an earlier try has failed.
            let arguments = ["--quiet", "--no-ask-password", "--collect", "--fsck=no"];
            // It stays while the device's state, as udev sees it, comes and goes.
            options.push_str(",x-systemd.device-bound=no");
            Call::new("systemd-mount", arguments)
                .and("--type=ext4")
                .and(format!("--options={options}"))
        }
    };
    call.and(device(settings))
        .and(&settings.mount_point)
        .within(MOUNTING)
}

/// Unmounts it; everything that was written is on the disk then.
pub(crate) fn unmount(settings: &Settings) -> Call<'static> {
    let call = match settings.mounts {
        Mounts::Here => Call::new("umount", [""; 0]),
        Mounts::BySystemd => Call::new("systemd-mount", ["--quiet", "--umount"]),
    };
    call.and(&settings.mount_point).within(UNMOUNTING)
}
