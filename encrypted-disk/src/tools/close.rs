//! Lets go of the disk, patiently.
//!
//! I/O: runs umount, or systemd-mount, and dmsetup.

use std::thread;
use std::time::{Duration, Instant};

use crate::cryptsetup;
use crate::error::DiskError;
use crate::file_system;
use crate::run::Call;

use super::Tools;

/// How long a service may take to close its files.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

impl Tools<'_> {
    /// Unmounts the file system and removes the mapping; what is not there is not an error. It is
    /// never done by force: what is still in use after a minute is said.
    ///
    /// # Errors
    ///
    /// [`DiskError`] with what umount or dmsetup said.
    pub fn close(&mut self) -> Result<(), DiskError> {
        self.release(PATIENCE)
    }

    pub(super) fn release(&mut self, patience: Duration) -> Result<(), DiskError> {
        if self.is_mounted()? {
            self.insist(&file_system::unmount(self.settings), patience)?;
        }
        if self.sysfs.mapping(&self.settings.mapping)?.is_some() {
            self.insist(&cryptsetup::close(self.settings), patience)?;
        }
        Ok(())
    }

    /// Tries again for a while: udev may look at a mapping just when it is to go.
    fn insist(&mut self, call: &Call<'_>, patience: Duration) -> Result<(), DiskError> {
        let begin = Instant::now();
        loop {
            match self.succeed(call) {
                Err(_) if begin.elapsed() < patience => thread::sleep(PAUSE),
                done => return done.map(drop),
            }
        }
    }
}
