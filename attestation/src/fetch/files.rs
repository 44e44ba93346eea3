//! The cache's files: one per platform, in the form that other tools read, too.
//!
//! I/O: files of the directory that is given.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the collateral's cache is this crate's one exception"
)]

use std::fs::{File, remove_file, rename};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::SystemRandom;

use crate::collateral::{Collateral, CollateralError, MAX_COLLATERAL, PlatformKey};

/// Why a file of the cache could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file system refused.
    #[error("access {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not collateral.
    #[error("parse {}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CollateralError,
    },
}

/// Reads a platform's collateral and when it was fetched; `None` if there is no file.
pub(super) fn read(
    directory: &Path,
    platform: PlatformKey,
) -> Result<Option<(Collateral, u64)>, CacheError> {
    let path = path(directory, platform);
    let mut json = Vec::new();
    let limit = u64::try_from(MAX_COLLATERAL).unwrap_or(u64::MAX);
    let read = File::open(&path).and_then(|file| {
        let modified = file.metadata()?.modified()?;
        // One byte more than is parsed, so that too much is noticed.
        file.take(limit.saturating_add(1)).read_to_end(&mut json)?;
        Ok(modified)
    });
    match read {
        Ok(modified) => match Collateral::parse(&json) {
            Ok(collateral) => Ok(Some((collateral, seconds(modified)))),
            Err(source) => Err(CacheError::Malformed { path, source }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CacheError::Io { path, source }),
    }
}

/// Writes a platform's collateral that was fetched at this time, which becomes the file's date,
/// since the form has no place for it. A reader sees the old file or the new one, also if several
/// programs write.
pub(super) fn write(
    directory: &Path,
    platform: PlatformKey,
    json: &[u8],
    fetched: u64,
) -> Result<(), CacheError> {
    let path = path(directory, platform);
    let written = fill(&path, json, fetched);
    written.map_err(|source| CacheError::Io { path, source })
}

fn fill(path: &Path, json: &[u8], fetched: u64) -> io::Result<()> {
    let temporary = path.with_extension(format!("{:016x}.new", number()?));
    // Nobody else's: it is refused if it exists.
    let mut file = File::create_new(&temporary)?;
    let filled = file
        .write_all(json)
        .and_then(|()| file.set_modified(date(fetched)?))
        .and_then(|()| file.sync_all())
        .and_then(|()| rename(&temporary, path));
    if filled.is_err() {
        // The first error says more than this one would.
        let _ = remove_file(&temporary);
    }
    filled
}

/// A number that nobody else has.
fn number() -> io::Result<u64> {
    let random = ring::rand::generate::<[u8; 8]>(&SystemRandom::new());
    let random = random.map_err(|_| io::Error::other("no random numbers"))?;
    Ok(u64::from_be_bytes(random.expose()))
}

fn date(seconds: u64) -> io::Result<SystemTime> {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn path(directory: &Path, platform: PlatformKey) -> PathBuf {
    directory.join(format!("{platform}.json"))
}

#[cfg(test)]
mod tests {
    use testkit::tee::Tee;

    use super::*;
    use crate::collateral::PckCa;

    const NOW: u64 = 1_790_000_000;
    const PLATFORM: PlatformKey = PlatformKey {
        fmspc: [0; 6],
        ca: PckCa::Platform,
    };

    #[test]
    fn many_write_at_once_and_nobody_reads_a_mixture() {
        let directory = tempfile::tempdir().unwrap();
        let json = [1, 2].map(|seed| {
            let now = UNIX_EPOCH + Duration::from_secs(NOW);
            Tee::new(seed, now).collateral().to_json().into_bytes()
        });
        // What a program of this name has left behind is in nobody's way.
        let left = directory.path().join("000000000000-platform.new");
        std::fs::create_dir(&left).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (directory, json) = (directory.path(), &json[number % 2]);
                scope.spawn(move || {
                    for _ in 0..20 {
                        write(directory, PLATFORM, json, NOW).unwrap();
                        let (_, fetched) = read(directory, PLATFORM).unwrap().unwrap();
                        assert_eq!(fetched, NOW);
                    }
                });
            }
        });
        std::fs::remove_dir(&left).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_place_is_not_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(path(directory.path(), PLATFORM)).unwrap();
        write(directory.path(), PLATFORM, b"{}", NOW).unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
