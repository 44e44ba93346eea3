//! The ways to name a disk.
//!
//! I/O: reads sysfs.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FindError, Sysfs, azure};

/// Which disk is the data disk. In a configuration: `disk = { azure_lun = 10 }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selector {
    /// The data disk of this LUN on Azure, on either of its controllers: SCSI on the VMBus device for data
    /// disks, or the namespace `LUN + 2` of its NVMe controller.
    AzureLun(u16),

    /// The disk with this serial, exactly, as SCSI, NVMe or virtio say it. Clouds let their users
    /// name disks with it.
    Serial(String),

    /// The disk to which this name in `/dev/disk/by-id` points, such as `google-persistent`.
    ById(String),

    /// The disk of this LUN on whatever SCSI controller, or the namespace `LUN + 2` of whatever NVMe
    /// controller. For a simulated Azure, whose controllers are not Azure's. On a real machine it may match
    /// disks that are not data disks.
    DangerAnyControllerLun(u16),
}

impl Selector {
    pub(super) fn matches(&self, entry: &Path, sysfs: &Sysfs) -> Result<bool, FindError> {
        match self {
            Self::AzureLun(lun) => azure::matches(entry, *lun, azure::Controller::Azures),
            Self::DangerAnyControllerLun(lun) => {
                azure::matches(entry, *lun, azure::Controller::Any)
            }
            Self::Serial(serial) => Ok(Sysfs::serial(entry)?.as_ref() == Some(serial)),
            Self::ById(name) => sysfs.is_named(entry, name),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AzureLun(lun) => write!(f, "at LUN {lun} of Azure's data controller"),
            Self::Serial(serial) => write!(f, "with the serial {serial:?}"),
            Self::ById(name) => write!(f, "named {name:?} in /dev/disk/by-id"),
            Self::DangerAnyControllerLun(lun) => write!(f, "at LUN {lun} of any controller"),
        }
    }
}
