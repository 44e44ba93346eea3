//! Opens what commands are given: nothing larger than it may be, and no image that is none.
//!
//! I/O: opens and reads files, read-only.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, ensure};

/// Reads a file that may be one of the kernel's, which have no size, or a pipe.
pub(crate) fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    ensure!(
        size <= limit,
        "expected at most {limit} bytes in {}, got more",
        path.display()
    );
    Ok(bytes)
}

/// Opens an image: a file, or a disk that has one. Whatever else is looked at, but not opened: a
/// pipe would wait for a writer for ever.
pub(crate) fn open_image(path: &Path) -> anyhow::Result<File> {
    let context = || {
        format!(
            "open {}: give the path of a .raw, .vhd or .efi image",
            path.display()
        )
    };
    let kind = fs::metadata(path).with_context(context)?.file_type();
    ensure!(
        !kind.is_dir(),
        "{} is a directory, expected an image (.raw, .vhd or .efi)",
        path.display()
    );
    ensure!(
        kind.is_file() || kind.is_block_device(),
        "{} is neither a file nor a disk, expected an image (.raw, .vhd or .efi)",
        path.display()
    );
    File::open(path).with_context(context)
}
