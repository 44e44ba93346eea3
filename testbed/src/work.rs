//! The directory for logs and scratch files: the user's, or a temporary one that stays only if
//! something went wrong.
//!
//! I/O: makes and removes directories; copies images.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use testkit::tamper::disk::copy;

/// A directory to work in.
#[derive(Debug)]
pub(crate) enum Work {
    /// Given by the user: stays.
    Given(PathBuf),
    /// Ours: removed, unless kept.
    Temporary(TempDir),
}

impl Work {
    /// Makes the directory.
    pub(crate) fn new(given: Option<&Path>) -> Result<Self> {
        match given {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
                let path = path.canonicalize().context("find the run directory")?;
                Ok(Self::Given(path))
            }
            None => {
                let directory = TempDir::with_prefix("testbed-");
                Ok(Self::Temporary(
                    directory.context("make a temporary directory")?,
                ))
            }
        }
    }

    /// Makes sure that nothing else works there, as long as what is returned lives: two runs would write
    /// over each other.
    pub(crate) fn alone(&self) -> Result<File> {
        let lock = File::create(self.path().join("lock")).context("make the lock")?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(_) => bail!("something else runs in {}", self.path().display()),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    /// Keeps it, whoever made it.
    pub(crate) fn keep(self) -> PathBuf {
        match self {
            Self::Given(path) => path,
            Self::Temporary(directory) => directory.keep(),
        }
    }
}

/// Copies an image into this directory: one that is built anew in the meantime must not confuse the results.
pub(crate) fn copy_of(image: &Path, directory: &Path) -> Result<PathBuf> {
    let name = image.file_name().context("the image has no name")?;
    let path = directory.join(name);
    copy(image, &path).context("copy the image")?;
    Ok(path)
}

/// Makes `parent/name`, empty.
pub(crate) fn fresh_directory(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("clear {}", path.display()))?;
    }
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}
