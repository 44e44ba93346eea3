//! The cache's files: one per platform, in the form that other tools read, too.
//!
//! I/O: files of the directory that is given.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the collateral's cache is this crate's one exception"
)]

use std::fs::{File, rename};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

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

/// Reads a platform's collateral; `None` if there is no file.
pub(super) fn read(
    directory: &Path,
    platform: PlatformKey,
) -> Result<Option<Collateral>, CacheError> {
    let path = path(directory, platform);
    let mut json = Vec::new();
    let limit = u64::try_from(MAX_COLLATERAL).unwrap_or(u64::MAX);
    let read = File::open(&path)
        // One byte more than is parsed, so that too much is noticed.
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut json));
    match read {
        Ok(_) => Collateral::parse(&json)
            .map(Some)
            .map_err(|source| CacheError::Malformed { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CacheError::Io { path, source }),
    }
}

/// Writes a platform's collateral; a reader sees the old file or the new one.
pub(super) fn write(
    directory: &Path,
    platform: PlatformKey,
    collateral: &Collateral,
) -> Result<(), CacheError> {
    let path = path(directory, platform);
    let temporary = path.with_extension("new");
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(&collateral.to_json())?;
            file.sync_all()
        })
        .and_then(|()| rename(&temporary, &path));
    written.map_err(|source| CacheError::Io { path, source })
}

fn path(directory: &Path, platform: PlatformKey) -> PathBuf {
    directory.join(format!("{platform}.json"))
}
