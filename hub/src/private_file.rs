//! Files with secrets, which nobody else may read.
//!
//! I/O: reads the file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};

/// Reads the `what` in a file that only its owner, or root, can read.
///
/// # Errors
///
/// If it can't be read, or can be read by others.
pub(crate) fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    let context = || format!("read the {what} {}", path.display());
    let mode = std::fs::metadata(path)
        .with_context(context)?
        .permissions()
        .mode();
    ensure!(
        mode & 0o077 == 0,
        "{} can be read by others: chmod 600 it",
        path.display()
    );
    std::fs::read_to_string(path).with_context(context)
}
