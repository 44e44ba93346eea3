//! How full the disk is: said when it becomes another matter, and again while it is none that can stay.
//!
//! I/O: `statvfs`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

/// What stays bad is said again after this.
const AGAIN: Duration = Duration::from_secs(3600);

/// Watches one file system.
pub(super) struct Space {
    mount_point: PathBuf,
    level: Level,
    said: Option<Instant>,
}

/// How much is left of what there is less of: bytes or inodes. In parts of a thousand.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Level {
    /// More than a tenth.
    #[default]
    Enough,
    /// A tenth or less.
    Low,
    /// A twentieth or less: services begin to fail.
    VeryLow,
    /// Nothing to speak of.
    Full,
}

/// What a file system has, and what is left to those who are not root.
#[derive(Clone, Copy, Debug)]
struct Reading {
    bytes: u64,
    bytes_free: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Space {
    pub(super) fn of(mount_point: &Path) -> Self {
        Self {
            mount_point: mount_point.to_owned(),
            level: Level::default(),
            said: None,
        }
    }

    /// Looks, and says what has changed.
    pub(super) fn look(&mut self) {
        let shown = self.mount_point.display();
        let reading = match Reading::of(&self.mount_point) {
            Ok(reading) => reading,
            Err(error) => return tracing::error!("space: look at {shown}: {error}"),
        };
        let level = reading.level();
        let is_known = self.said.is_some_and(|at| at.elapsed() < AGAIN);
        if level == self.level && (is_known || level == Level::Enough) {
            return;
        }
        match level {
            Level::Enough => tracing::info!("space: {shown} has enough again: {reading}"),
            Level::Low => tracing::warn!("space: {shown} becomes full: {reading}"),
            Level::VeryLow => tracing::error!("space: {shown} is almost full: {reading}"),
            Level::Full => tracing::error!("space: {shown} is full: {reading}"),
        }
        (self.level, self.said) = (level, Some(Instant::now()));
    }
}

impl Reading {
    fn of(mount_point: &Path) -> nix::Result<Self> {
        let read = statvfs(mount_point)?;
        let size = read.fragment_size();
        Ok(Self {
            bytes: read.blocks().saturating_mul(size),
            bytes_free: read.blocks_available().saturating_mul(size),
            inodes: read.files(),
            inodes_free: read.files_available(),
        })
    }

    fn level(&self) -> Level {
        let bytes = Level::of(self.bytes_free, self.bytes);
        // Some file systems count none.
        let inodes = Level::of(self.inodes_free, self.inodes);
        bytes.max(if self.inodes == 0 { bytes } else { inodes })
    }
}

impl Level {
    fn of(free: u64, all: u64) -> Self {
        let free = u128::from(free) * 1000;
        match free.checked_div(u128::from(all)).unwrap_or_default() {
            0..=5 => Self::Full,
            6..=50 => Self::VeryLow,
            51..=100 => Self::Low,
            _ => Self::Enough,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [free, all] = [self.bytes_free, self.bytes].map(|bytes| bytes >> 20);
        write!(f, "{free} of {all} MiB and ")?;
        write!(f, "{} of {} files free", self.inodes_free, self.inodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_less_of_counts() {
        let of = |bytes_free, inodes_free| Reading {
            bytes: 1 << 40,
            bytes_free,
            inodes: 1000,
            inodes_free,
        };
        for (bytes_free, inodes_free, expected) in [
            (1 << 40, 1000, Level::Enough),
            ((1 << 40) / 5, 101, Level::Enough),
            (1 << 39, 100, Level::Low),
            (1 << 36, 1000, Level::Low),
            (1 << 35, 1000, Level::VeryLow),
            (1 << 39, 20, Level::VeryLow),
            (1 << 30, 1000, Level::Full),
            (1 << 39, 0, Level::Full),
        ] {
            let level = of(bytes_free, inodes_free).level();
            assert_eq!(level, expected, "{bytes_free} {inodes_free}");
        }
        let uncounted = Reading {
            inodes: 0,
            ..of(1 << 39, 0)
        };
        assert_eq!(uncounted.level(), Level::Enough);
    }

    #[test]
    fn a_file_system_can_be_read() {
        let reading = Reading::of(Path::new("/")).unwrap();
        assert!(reading.bytes > 0 && reading.bytes_free <= reading.bytes);
        assert!(Reading::of(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_level_is_said_when_it_changes() {
        let mut space = Space::of(Path::new("/"));
        space.level = Level::Full;
        space.look();
        let level = Reading::of(Path::new("/")).unwrap().level();
        assert_eq!(space.level, level);
        assert!(space.said.is_some());
    }
}
