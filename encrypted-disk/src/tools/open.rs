//! Opens a disk that looks like ours.
//!
//! I/O: reads the disk; repairs a slot; runs cryptsetup.

use crate::cryptsetup;
use crate::device::{Access, Device};
use crate::error::DiskError;
use crate::find::Disk;
use crate::key::Key;
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
    pub(super) header: Vec<u8>,
    pub(super) record: Record,
    sector: [u8; SECTOR],
    needs_repair: bool,
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
    /// Maps the data, unless they are mapped. Whether that took a new format.
    pub(super) fn open(&mut self, disk: &Disk, key: &Key) -> Result<bool, DiskError> {
        let authentic = match self.authenticate(disk, key)? {
            Found::Header(authentic) => authentic,
            // Of a first boot that was cut short; or the owner has put back what that was like.
            Found::FormatAgain { .. } if !self.settings.formats_blank => {
                return Err(Refusal::FormatNotAllowed.into());
            }
            Found::FormatAgain { sequence } => {
                self.tell(Event::FormatsAgain);
                if disk.mapping.is_some() {
                    // Of a run that was interrupted in the middle: there is nothing on it.
                    self.insist(&cryptsetup::close(self.settings))?;
                }
                return self.format(disk, key, sequence).map(|()| true);
            }
        };
        if disk.mapping.is_none() {
            self.map(disk, key, &authentic.header)?;
            self.tell(Event::Opened);
        }
        // After the key has opened it: then the slot is worth being copied.
        if authentic.needs_repair {
            let slot = authentic.slot.other();
            let sealed = Sealed {
                header: &authentic.header,
                record: &authentic.sector,
            };
            write(disk, Access::WriteBeside, &steps::replace(slot, sealed))?;
            self.tell(Event::Repaired(slot));
        }
        Ok(false)
    }

    /// Reads both slots, once, and believes what the key proves.
    pub(super) fn authenticate(&self, disk: &Disk, key: &Key) -> Result<Found, DiskError> {
        let access = match disk.mapping {
            Some(_) => Access::WriteBeside,
            None => Access::ReadAlone,
        };
        let read = |source| DiskError::Device {
            action: "read the headers",
            source,
        };
        let mut device = Device::open(&disk.device, access).map_err(read)?;
        let contents = slots::read(&mut device).map_err(read)?;
        let findings = contents.each_ref().map(|content| judge(content, key));
        match slots::decide(&findings, key, identity(disk))? {
            Decision::FormatAgain { sequence } => Ok(Found::FormatAgain { sequence }),
            Decision::Open {
                slot,
                record,
                repair,
            } => {
                let [a, b] = contents;
                let Content {
                    header,
                    record: sector,
                } = match slot {
                    Slot::A => a,
                    Slot::B => b,
                };
                Header::parse(&header, self.settings.key_derivation)
                    .map_err(OpenRefusal::Header)?;
                Ok(Found::Header(Box::new(Authentic {
                    slot,
                    header,
                    record,
                    sector: sector.try_into().unwrap_or([0; SECTOR]),
                    needs_repair: repair,
                })))
            }
        }
    }

    /// Has cryptsetup map the data by this header, which it gets as a file in memory.
    pub(super) fn map(&mut self, disk: &Disk, key: &Key, header: &[u8]) -> Result<(), DiskError> {
        let scratch = self.scratch()?;
        let header = scratch.header(header).map_err(DiskError::scratch)?;
        let call = cryptsetup::open(&header, &disk.device, key, self.settings);
        let output = self.run.run(&call)?;
        match output.code {
            0 => Ok(()),
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
    let mut device = Device::open(&disk.device, access).map_err(failed("open for writing"))?;
    steps::apply(&mut device, steps).map_err(failed("write the headers"))
}
