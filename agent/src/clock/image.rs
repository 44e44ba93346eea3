//! When the image was built.
//!
//! systemd keeps the clock from showing less than the time stamp of this file (systemd(1), "System clock
//! epoch"); the image's build gives it the image's date, and the file is on the verified file system,
//! so that the date is as measured as all of the image. Its content does not matter.
//!
//! I/O: reads a file's time stamp.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};

/// The file.
const CLOCK_EPOCH: &str = "usr/lib/clock-epoch";

/// The image's date. There is no other: were this file missing, any other guess would be a lower bound
/// that somebody believes in.
pub(super) fn built(root: &Path) -> Result<SystemTime> {
    let path = root.join(CLOCK_EPOCH);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
    modified.with_context(|| {
        format!(
            "read the image's date, the time stamp of {}",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_date_is_the_files_time_stamp() {
        let root = tempfile::tempdir().unwrap();
        let error = built(root.path()).unwrap_err();
        assert!(error.to_string().contains("usr/lib/clock-epoch"), "{error}");

        let date = UNIX_EPOCH + Duration::from_secs(1_793_491_200);
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        let file = fs::File::create(root.path().join(CLOCK_EPOCH)).unwrap();
        file.set_modified(date).unwrap();
        assert_eq!(built(root.path()).unwrap(), date);
    }
}
