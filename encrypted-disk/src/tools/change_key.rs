//! Puts another key in the place of the disk's.
//!
//! The volume's own key stays, and so do the data: who had the old key *and* a copy of the old header can
//! read them for ever. The header is changed in memory; the disk then gets it slot by slot
//! ([`crate::steps`]), so that at any time the disk opens with the old key or with the new one, and from
//! the moment on at which this is done, with the new one alone. A start with either of the two mends
//! what a power cut has left.
//!
//! I/O: reads and writes the disk; runs cryptsetup.

use crate::cryptsetup;
use crate::device::Access;
use crate::error::DiskError;
use crate::find::Disk;
use crate::key::{Key, Keys, Which};
use crate::record::Record;
use crate::slots::sha256;
use crate::steps::{self, Sealed};

use super::open::{Authentic, Found, write};
use super::{Event, Tools};

impl Tools<'_> {
    /// Changes the key of a disk that is open or not. A disk that has the new key already is left as it is.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotOpened`] if neither key is the disk's; any other [`DiskError`] leaves a disk
    /// that opens with one of them.
    pub fn change_key(&mut self, disk: &Disk, old: &Key, new: &Key) -> Result<(), DiskError> {
        let changed = self.change_key_unexplained(disk, old, new);
        changed.map_err(|error| error.or_vanished(disk))
    }

    fn change_key_unexplained(
        &mut self,
        disk: &Disk,
        old: &Key,
        new: &Key,
    ) -> Result<(), DiskError> {
        let keys = Keys {
            present: new,
            previous: Some(old),
        };
        let authentic = match self.authenticate(disk, keys)? {
            Found::Header(authentic) => authentic,
            // A half-made disk has nothing whose key could be changed; it is made anew with the next start.
            Found::FormatAgain { .. } => return Err(DiskError::HalfFormatted),
        };
        if authentic.by == Which::Present {
            // An earlier try may have been cut short.
            if authentic.needs_repair {
                self.repair(disk, &authentic);
            }
            return Ok(());
        }
        self.put_key(disk, keys, &authentic)
    }

    /// Puts the present key in the place of the previous one, which has authenticated the header.
    pub(super) fn put_key(
        &mut self,
        disk: &Disk,
        keys: Keys<'_>,
        authentic: &Authentic,
    ) -> Result<(), DiskError> {
        let (old, new) = (keys.of(authentic.by), keys.present);
        let scratch = self.scratch()?;
        let path = scratch
            .header(&authentic.header)
            .map_err(DiskError::scratch)?;
        let lines = Key::lines([old, new]);
        self.succeed(&cryptsetup::change_key(&path, &lines))?;
        let header = self.read_made(&path, new)?;
        let record = Record {
            sequence: authentic.record.sequence.saturating_add(1),
            key: new.id(),
            header: sha256(&header),
            ..authentic.record
        };
        let sealed = Sealed {
            header: &header,
            record: &record.to_bytes(new),
        };
        let access = match self.sysfs.mapping(&self.settings.mapping)? {
            Some(_) => Access::WriteBeside,
            None => Access::WriteAlone,
        };
        write(disk, access, &steps::change(authentic.slot, sealed))?;
        self.tell(Event::KeyChanged);
        Ok(())
    }
}
