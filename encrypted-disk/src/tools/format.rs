//! Makes a disk ours.
//!
//! I/O: writes the disk; runs cryptsetup and mkfs.ext4.

use std::path::Path;

use crate::cryptsetup;
use crate::device::Access;
use crate::error::DiskError;
use crate::file_system;
use crate::find::Disk;
use crate::key::Key;
use crate::luks::{Header, KeyDerivation};
use crate::record::{Record, State};
use crate::scratch;
use crate::slots::sha256;
use crate::steps::{self, Sealed};

use super::open::{identity, write};
use super::{Event, Tools};

const MEBIBYTE: usize = 1 << 20;

impl Tools<'_> {
    /// Formats a disk that is blank, or was being formatted, with records after `sequence`.
    /// The disk is mapped when this is done.
    pub(super) fn format(
        &mut self,
        disk: &Disk,
        key: &Key,
        sequence: u64,
    ) -> Result<(), DiskError> {
        self.tell(Event::Formats);
        let header = self.make_header(key)?;
        let identity = identity(disk);
        let formatting = Record {
            state: State::Formatting,
            sequence: sequence.saturating_add(1),
            disk_bytes: identity.bytes,
            key: key.id(),
            identity: identity.digest,
            header: sha256(&header),
        };
        let ready = Record {
            state: State::Ready,
            sequence: sequence.saturating_add(2),
            ..formatting
        };
        let sealed = Sealed {
            header: &header,
            record: &formatting.to_bytes(key),
        };
        write(disk, Access::WriteAlone, &steps::begin_format(sealed))?;
        self.map(disk, key, &header)?;
        self.succeed(&file_system::make(self.settings))?;
        let ready = ready.to_bytes(key);
        write(disk, Access::WriteBeside, &steps::end_format(&ready))?;
        self.tell(Event::Formatted);
        Ok(())
    }

    /// A header under a key, made in memory, and what cryptsetup made of our wishes checked.
    fn make_header(&mut self, key: &Key) -> Result<Vec<u8>, DiskError> {
        let scratch = self.scratch()?;
        let (header, disk) = scratch.blank().map_err(DiskError::scratch)?;
        self.succeed(&cryptsetup::format(&header, &disk, key))?;
        self.read_made(&header, key)
    }

    /// Reads back a header that cryptsetup has made or changed, which has to be as we want it, and to take
    /// the key: better to fail now than to write it.
    pub(super) fn read_made(&mut self, path: &Path, key: &Key) -> Result<Vec<u8>, DiskError> {
        let header = scratch::read(path).map_err(DiskError::scratch)?;
        Header::parse(&header, KeyDerivation::Pbkdf2).map_err(DiskError::Made)?;
        if !self.takes(path, key)? {
            return Err(DiskError::MadeForAnotherKey);
        }
        Ok(header)
    }

    /// Makes both ends of a disk zero: it is refused until the last of them are, and blank then, or at
    /// least not ours. Data between the ends stay where they are, and are overwritten as the disk fills.
    pub(super) fn wipe(&mut self, disk: &Disk) -> Result<(), DiskError> {
        self.tell(Event::Wipes);
        let zeros = vec![0; MEBIBYTE];
        write(disk, Access::WriteAlone, &steps::wipe(disk.bytes, &zeros))
    }
}
