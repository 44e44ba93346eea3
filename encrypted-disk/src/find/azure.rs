//! How Azure's data disks look in sysfs.
//!
//! SCSI (v5 sizes): the disk's device is named `HOST:CHANNEL:TARGET:LUN`, and one of the devices that it
//! hangs on is a VMBus device whose `device_id` is that of the controller for data disks. The boot disk
//! and the temporary disk, which is LUN 1, have another controller.
//!
//! NVMe (v6 sizes): the controller's model is known, and namespaces are numbered from the boot disk's, 1,
//! so that LUN n has `n + 2` (azure-vm-utils, issues 11 and 30).
//!
//! I/O: reads sysfs.

use std::path::Path;

use super::FindError;
use super::sysfs::{optional, optional_number, resolve};

/// VMBus instance of the controller for data disks.
const DATA_CONTROLLER: &str = "{f8b3781b-1e82-4818-a1c3-63d806ec15bb}";
const NVME_MODEL: &str = "MSFT NVMe Accelerator v1.0";
/// The namespace of LUN 0.
const FIRST_NAMESPACE: u64 = 2;

/// Which controllers count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Azures,
    Any,
}

/// Whether the disk is at a LUN.
pub(super) fn matches(entry: &Path, lun: u16, which: Controller) -> Result<bool, FindError> {
    let lun = u64::from(lun);
    if let Some(namespace) = optional_number(&entry.join("nsid"))? {
        let is_azures = || {
            let model = optional(&entry.join("device/model"))?;
            Ok(model.as_deref() == Some(NVME_MODEL))
        };
        let is_it = namespace.checked_sub(FIRST_NAMESPACE) == Some(lun);
        return Ok(is_it && (which == Controller::Any || is_azures()?));
    }
    let device = resolve(&entry.join("device"))?;
    let address = device.file_name().and_then(|name| name.to_str());
    if address.and_then(parse_address) != Some(lun) {
        return Ok(false);
    }
    Ok(which == Controller::Any || is_on_data_controller(&device)?)
}

/// The LUN of `HOST:CHANNEL:TARGET:LUN`.
fn parse_address(name: &str) -> Option<u64> {
    let numbers: Option<Vec<u64>> = name.split(':').map(|part| part.parse().ok()).collect();
    match numbers?.as_slice() {
        [_host, _channel, _target, lun] => Some(*lun),
        _ => None,
    }
}

fn is_on_data_controller(device: &Path) -> Result<bool, FindError> {
    for ancestor in device.ancestors().skip(1) {
        let id = optional(&ancestor.join("device_id"))?;
        if id.is_some_and(|id| id.eq_ignore_ascii_case(DATA_CONTROLLER)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_four_numbers() {
        assert_eq!(parse_address("1:0:0:10"), Some(10));
        assert_eq!(parse_address("0:0:0:0"), Some(0));
        for other in ["10", "1:0:10", "1:0:0:0:10", "1:0:0:", "1:0:0:x", "virtio2"] {
            assert_eq!(parse_address(other), None, "{other}");
        }
    }
}
