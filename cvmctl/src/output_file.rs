//! Writes what a command was asked to write to a file: all of it, or the file stays as it was.
//!
//! I/O: writes a new file beside the one that is meant, and renames it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Writes a file. A device or a pipe is written to as it is.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_whole(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let existing = fs::metadata(path).ok();
    if let Some(existing) = &existing {
        ensure!(!existing.is_dir(), "it is a directory");
        if !existing.is_file() {
            let mut device = OpenOptions::new().write(true).open(path)?;
            return Ok(device.write_all(bytes)?);
        }
    }
    // What a link points to is what is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (directory, temporary) = beside(&target)?;
    let permissions = existing.map(|existing| existing.permissions());
    let written =
        write_new(&temporary, bytes, permissions).and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = written {
        // What could not be written is of no use; the first error is the one that counts.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    Ok(File::open(directory)?.sync_all()?)
}

/// A new file's name beside `target`, and the directory of both.
fn beside(target: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let name = target.file_name().context("expected the name of a file")?;
    let directory = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", std::process::id()));
    Ok((directory.to_owned(), directory.join(temporary)))
}

/// Who may read the file that is replaced, and nobody else, may read this one from the start.
fn write_new(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = match permissions {
        None => options.open(path)?,
        Some(permissions) => {
            let file = options.mode(0o600).open(path)?;
            let mode = permissions.mode() & 0o777;
            file.set_permissions(Permissions::from_mode(mode))?;
            file
        }
    };
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_link_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "a longer old text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn who_could_read_the_file_still_can_and_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        for mode in [0o600, 0o640, 0o444, 0o666] {
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            write(&file, b"new").unwrap();
            let actual = fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
            assert_eq!(actual, mode);
            assert_eq!(fs::read(&file).unwrap(), b"new");
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), b"new").is_err());
        assert!(write(&directory.path().join("no/such"), b"new").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write(Path::new("/dev/null"), b"new").unwrap();
    }
}
