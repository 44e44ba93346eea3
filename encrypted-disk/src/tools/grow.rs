//! Makes a mounted file system as large as its disk has become.
//!
//! Nothing in the header changes: its segment reaches to the disk's end, wherever that is. So this is
//! only for a machine that is not to be restarted, as opening a disk takes its size as it is.
//!
//! I/O: reads the disk; asks the kernel to look at it again; runs cryptsetup and resize2fs.

use std::fs;

use crate::cryptsetup;
use crate::error::DiskError;
use crate::file_system;
use crate::find::Disk;
use crate::key::Key;

use super::Tools;
use super::open::Found;

impl Tools<'_> {
    /// Grows a mounted disk. If it has not grown, nothing happens.
    ///
    /// # Errors
    ///
    /// [`DiskError`]; the file system is as it was, or larger.
    pub fn grow(&mut self, disk: &Disk, key: &Key) -> Result<(), DiskError> {
        let grown = self.grow_unexplained(disk, key);
        grown.map_err(|error| error.or_vanished(disk))
    }

    fn grow_unexplained(&mut self, disk: &Disk, key: &Key) -> Result<(), DiskError> {
        // SCSI disks that do not tell by themselves; others have no such file.
        let _ = fs::write(disk.entry.join("device/rescan"), "1");
        let Found::Header(authentic) = self.authenticate(disk, key.into())? else {
            return Err(DiskError::HalfFormatted);
        };
        let scratch = self.scratch()?;
        let header = scratch
            .header(&authentic.header)
            .map_err(DiskError::scratch)?;
        self.succeed(&cryptsetup::resize(&header, key, self.settings))?;
        self.succeed(&file_system::grow(self.settings))?;
        Ok(())
    }
}
