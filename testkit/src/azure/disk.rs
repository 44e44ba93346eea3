//! The data disk of a simulated Azure machine: what is on it, where it is, and when it comes.
//!
//! Azure attaches a data disk some time after the machine has started, at a SCSI LUN that the
//! operator chose, or, on newer sizes, as the NVMe namespace `LUN + 2`. QEMU has no VMBus, so that
//! the controller is a virtio one here: the LUN is the only thing to know the disk by.
//!
//! I/O: writes the disk's image; runs mkfs.ext4, sgdisk, cryptsetup; QMP in a thread of its own.

mod attach;
mod content;

use std::path::PathBuf;
use std::time::Duration;

pub use attach::{Attached, DiskState};
pub use content::{Content, DiskError};

use crate::machine::Device;

/// The LUN that BuilderNet's operators use.
pub const LUN: u16 = 10;
/// Azure's numbers for namespaces: that of the boot disk is 1, and LUN 0 is the one after.
const FIRST_NAMESPACE: u32 = 2;
/// The controller that data disks are plugged into; the boot disk has another, as on Azure.
pub(super) const CONTROLLER: &str = "scsidata";

/// A data disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDisk {
    /// Where and when it appears.
    pub place: Place,
    /// Bytes; whole sectors.
    pub size: u64,
    /// What is on it when it is new.
    pub content: Content,
    /// Whether the guest cannot write to it.
    pub is_read_only: bool,
}

/// Where a disk appears, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this LUN of the SCSI controller.
    Scsi {
        /// The LUN.
        lun: u16,
        /// When it comes.
        comes: Comes,
        /// How long after that it goes, if it does.
        vanishes_after: Option<Duration>,
    },
    /// As the NVMe namespace of this LUN, from power-on: QEMU cannot plug in namespaces.
    Nvme {
        /// The LUN.
        lun: u16,
    },
    /// Nowhere: it never comes.
    Nowhere,
}

/// When a disk is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comes {
    /// At power-on.
    AtStart,
    /// So long after the kernel has begun.
    AfterKernel(Duration),
}

impl Default for DataDisk {
    /// A blank gibibyte at [`LUN`], 20 seconds after the kernel has begun.
    fn default() -> Self {
        Self {
            place: Place::Scsi {
                lun: LUN,
                comes: Comes::AfterKernel(Duration::from_secs(20)),
                vanishes_after: None,
            },
            size: 1 << 30,
            content: Content::Blank,
            is_read_only: false,
        }
    }
}

impl DataDisk {
    /// What is plugged in before the machine is started, if the disk's image is this.
    pub(super) fn devices(&self, image: PathBuf) -> Vec<Device> {
        let mut devices = vec![Device::ScsiController(CONTROLLER.to_owned())];
        if let Place::Nvme { lun } = self.place {
            devices.push(Device::Nvme {
                image,
                namespace: u32::from(lun).saturating_add(FIRST_NAMESPACE),
                is_read_only: self.is_read_only,
            });
        }
        devices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_is_two_more_than_the_lun() {
        let disk = DataDisk {
            place: Place::Nvme { lun: LUN },
            ..DataDisk::default()
        };
        let devices = disk.devices("/d".into());
        assert!(matches!(devices[1], Device::Nvme { namespace: 12, .. }));
    }

    #[test]
    fn scsi_disk_comes_later() {
        let devices = DataDisk::default().devices("/d".into());
        assert_eq!(devices, [Device::ScsiController(CONTROLLER.to_owned())]);
    }
}
