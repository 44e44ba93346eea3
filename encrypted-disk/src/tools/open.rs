//! Opens a disk that looks like ours.
//!
//! I/O: reads the disk; repairs a slot; runs cryptsetup.

use crate::cryptsetup;
use crate::device::{Access, Device};
use crate::error::DiskError;
use crate::find::Disk;
use crate::key::{Key, Keys, Which};
use crate::layout::{SECTOR, Slot};
use crate::luks::Header;
use crate::plan::Refusal;
use crate::record::Record;
use crate::run::failed;
use crate::scratch::Scratch;
use crate::slots::{self, Content, Decision, Identity, OpenRefusal, judge};
use crate::steps::{self, Sealed};

use super::{Event, Tools};

/// A header in memory that is authentic, checked and ours.
pub(super) struct Authentic {
    pub(super) slot: Slot,
    pub(super) by: Which,
    pub(super) header: Vec<u8>,
    pub(super) record: Record,
    sector: [u8; SECTOR],
    pub(super) needs_repair: bool,
}

/// What a look with the key says.
pub(super) enum Found {
    Header(Box<Authentic>),
    FormatAgain { sequence: u64 },
}

/// Which disk it is, for records.
pub(super) fn identity(disk: &Disk) -> Identity {
    Identity {
        bytes: disk.bytes,
        digest: slots::sha256(disk.identity.as_deref().unwrap_or_default().as_bytes()),
    }
}

impl Tools<'_> {
    /// Maps the data, unless they are mapped. Whether that took a new format. `doubt` is what is seen on the
    /// disk that speaks against it.
    pub(super) fn open(
        &mut self,
        disk: &Disk,
        keys: Keys<'_>,
        doubt: Option<Refusal>,
    ) -> Result<bool, DiskError> {
        let (found, doubt) = match (self.authenticate(disk, keys), doubt) {
            // No slot has anything to say against what else is there.
            (Err(DiskError::NotOpened(OpenRefusal::Record { .. })), Some(doubt)) => {
                return Err(doubt.into());
            }
            (found, doubt) => (found?, doubt),
        };
        let authentic = match (found, doubt) {
            (Found::Header(authentic), _) => authentic,
            // Of a first boot that was cut short; or the owner has put back what that was like.
            (Found::FormatAgain { .. }, _) if !self.settings.formats_blank => {
                return Err(Refusal::FormatNotAllowed.into());
            }
            // Or somebody has used it for something else since.
            (Found::FormatAgain { .. }, Some(doubt)) => return Err(doubt.into()),
            (Found::FormatAgain { sequence }, None) => {
                self.tell(Event::FormatsAgain);
                // Of a run that was interrupted in the middle: there is nothing on it.
                self.close()?;
                return self.format(disk, keys.present, sequence).map(|()| true);
            }
        };
        if disk.mapping.is_none() {
            self.map(disk, keys.of(authentic.by), &authentic.header)?;
            self.tell(Event::Opened);
        }
        // After a key has opened it: then the slot is worth being copied.
        if authentic.by == Which::Previous {
            if let Err(error) = self.put_key(disk, keys, &authentic) {
                let reason = error.chain();
                self.tell(Event::KeyNotChanged { reason });
            }
        } else if authentic.needs_repair {
            self.repair(disk, &authentic);
        }
        Ok(false)
    }

    /// Makes the other slot like this one. A sector that cannot be read can often be written; if not, the
    /// disk works with one slot.
    pub(super) fn repair(&mut self, disk: &Disk, authentic: &Authentic) {
        let slot = authentic.slot.other();
        let sealed = Sealed {
            header: &authentic.header,
            record: &authentic.sector,
        };
        let written = write(disk, Access::WriteBeside, &steps::replace(slot, sealed));
        self.tell(match written {
            Ok(()) => Event::Repaired(slot),
            Err(error) => Event::NotRepaired {
                slot,
                reason: error.chain(),
            },
        });
    }

    /// Reads both slots, once, and believes what a key proves.
    pub(super) fn authenticate(&self, disk: &Disk, keys: Keys<'_>) -> Result<Found, DiskError> {
        let access = match disk.mapping {
            Some(_) => Access::WriteBeside,
            None => Access::ReadAlone,
        };
        let opening = |source| DiskError::Device {
            action: "open for reading",
            source,
        };
        let mut device = Device::open(disk, access).map_err(opening)?;
        let contents = slots::read(&mut device);
        let findings = contents
            .each_ref()
            .map(|content| judge(content.as_ref(), keys));
        let (slot, record, by, needs_repair) = match slots::decide(&findings, keys, identity(disk))?
        {
            Decision::FormatAgain { sequence } => return Ok(Found::FormatAgain { sequence }),
            Decision::Open {
                slot,
                record,
                by,
                repair,
            } => (slot, record, by, repair),
        };
        let [a, b] = contents;
        let content = match slot {
            Slot::A => a,
            Slot::B => b,
        };
        let Content {
            header,
            record: sector,
        } = content.ok_or(OpenRefusal::Unreadable { slot })?;
        Header::parse(&header, self.settings.key_derivation).map_err(OpenRefusal::Header)?;
        Ok(Found::Header(Box::new(Authentic {
            slot,
            by,
            header,
            record,
            sector: sector.try_into().unwrap_or([0; SECTOR]),
            needs_repair,
        })))
    }

    /// Has cryptsetup map the data by this header, which it gets as a file in memory.
    pub(super) fn map(&mut self, disk: &Disk, key: &Key, header: &[u8]) -> Result<(), DiskError> {
        let scratch = self.scratch()?;
        let header = scratch.header(header).map_err(DiskError::scratch)?;
        let call = cryptsetup::open(&header, &disk.device, key, self.settings);
        let output = self.run.run(&call)?;
        match output.code {
            0 if disk.is_there() => Ok(()),
            // cryptsetup opens by name, and it may be on another disk that has the name meanwhile.
            0 => {
                self.close()?;
                let name = disk.name.clone();
                Err(DiskError::Replaced { name })
            }
            cryptsetup::NO_KEY => Err(OpenRefusal::KeyRejected.into()),
            _ => Err(failed(&call, output).into()),
        }
    }

    pub(super) fn scratch(&self) -> Result<Scratch, DiskError> {
        Scratch::new(&self.settings.scratch).map_err(DiskError::scratch)
    }
}

/// Writes to the disk's beginning.
pub(super) fn write(
    disk: &Disk,
    access: Access,
    steps: &[steps::Step<'_>],
) -> Result<(), DiskError> {
    let failed = |action| move |source| DiskError::Device { action, source };
    let mut device = Device::open(disk, access).map_err(failed("open for writing"))?;
    steps::apply(&mut device, steps).map_err(failed("write the headers"))
}
