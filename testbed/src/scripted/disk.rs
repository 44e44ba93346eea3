//! Disks that are attached to a running node where its data disk would be, and taken away again.
//!
//! I/O: writes images; runs what `testkit` makes disks with; QMP.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::azure::disk::{Content, DataDisk, LUN, Place};
use testkit::machine::Running;
use testkit::tamper::disk::copy;

use crate::data_disk;

/// The controller that data disks are attached to, and the disk's names in QEMU.
const BUS: &str = "scsidata.0";
const DEVICE: &str = "medium";
const NODE: &str = "medium-node";

/// Bytes of a disk: as few as a node's own may have, and a little.
pub(crate) const SIZE: u64 = 160 << 20;
/// Of one that is too small.
const SMALL: u64 = 64 << 20;
/// Where one sector is not zero, far from both ends.
pub(crate) const SECTOR: u64 = 100 << 20;

/// How long QEMU may use a disk's image after the disk was taken away.
const RELEASE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Nothing.
    Nothing,
    /// Somebody's ext4 file system.
    Ext4,
    /// Somebody's partition table.
    PartitionTable,
    /// Zeros, but for one sector.
    OneSector,
    /// Somebody's LUKS2 header.
    OtherLuks,
    /// A blank disk that cannot be written.
    ReadOnly,
    /// One that is too small.
    Small,
    /// The node's own disk.
    Own,
    /// A copy of it whose headers say that nothing is encrypted.
    NullCipher,
    /// A copy of it with a bit changed in each record.
    Records,
}

impl Medium {
    /// Whether there has to be a disk of the node's own first.
    pub(crate) fn is_of_own(self) -> bool {
        matches!(self, Self::Own | Self::NullCipher | Self::Records)
    }

    /// Makes its image.
    fn make(self, own: &Path, path: &Path) -> Result<()> {
        let content = match self {
            Self::Ext4 => Content::Ext4,
            Self::PartitionTable => Content::PartitionTable,
            Self::OneSector => Content::NoiseAt(SECTOR),
            Self::OtherLuks => Content::Luks2,
            Self::Nothing | Self::ReadOnly | Self::Small => Content::Blank,
            Self::Own | Self::NullCipher | Self::Records => {
                copy(own, path).context("copy the node's disk")?;
                return match self {
                    Self::NullCipher => data_disk::take_the_cipher(path),
                    Self::Records => data_disk::change_the_records(path),
                    _ => Ok(()),
                };
            }
        };
        let size = if self == Self::Small { SMALL } else { SIZE };
        let disk = DataDisk {
            size,
            content,
            ..absent()
        };
        disk.make(path).context("make a disk")
    }
}

/// The node's own disk, which is not there at power-on, and does not come by itself.
pub(crate) fn absent() -> DataDisk {
    DataDisk {
        place: Place::Nowhere,
        size: SIZE,
        ..DataDisk::default()
    }
}

/// A disk that is attached, and what was on it by then.
#[derive(Debug)]
pub(crate) struct Attached {
    image: PathBuf,
    digest: [u8; 32],
}

impl Attached {
    /// Attaches one, whose image is made at `image`.
    pub(crate) fn attach(
        medium: Medium,
        machine: &Running,
        own: &Path,
        image: PathBuf,
    ) -> Result<Self> {
        let _ = std::fs::remove_file(&image);
        medium.make(own, &image)?;
        let digest = data_disk::digest(&image)?;
        if medium != Medium::Nothing {
            plug(machine, &image, medium == Medium::ReadOnly)?;
        }
        Ok(Self { image, digest })
    }

    /// Takes it away.
    ///
    /// # Errors
    ///
    /// Also if anything on it was changed.
    pub(crate) fn detach(self, machine: &Running) -> Result<()> {
        pull(machine)?;
        let is_same = data_disk::digest(&self.image)? == self.digest;
        ensure!(is_same, "what is on the disk was changed");
        std::fs::remove_file(&self.image).context("remove the disk's image")
    }
}

/// Attaches the disk with this image.
pub(crate) fn plug(machine: &Running, image: &Path, is_read_only: bool) -> Result<()> {
    let file = json!({"driver": "file", "filename": image, "read-only": is_read_only});
    let node = json!({
        "driver": "raw", "node-name": NODE, "read-only": is_read_only, "file": file,
    });
    machine
        .execute("blockdev-add", node)
        .context("open a disk")?;
    let device = json!({
        "driver": "scsi-hd", "id": DEVICE, "drive": NODE, "bus": BUS,
        "channel": 0, "scsi-id": 0, "lun": LUN, "vendor": "Msft", "product": "Virtual Disk",
    });
    machine
        .execute("device_add", device)
        .context("attach a disk")?;
    Ok(())
}

/// Takes away what is attached, if anything is.
fn pull(machine: &Running) -> Result<()> {
    let devices = machine.execute("qom-list", json!({"path": "/machine/peripheral"}))?;
    let devices = devices.as_array().map_or(&[][..], |devices| devices);
    if !devices.iter().any(|device| device["name"] == DEVICE) {
        return Ok(());
    }
    machine
        .execute("device_del", json!({"id": DEVICE}))
        .context("take a disk away")?;
    let end = Instant::now() + RELEASE;
    loop {
        match machine.execute("blockdev-del", json!({"node-name": NODE})) {
            Ok(_) => return Ok(()),
            Err(_) if Instant::now() < end => thread::sleep(POLL),
            Err(error) => return Err(error).context("close a disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_what_they_are_called() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own.raw");
        for (medium, size, is_blank) in [
            (Medium::ReadOnly, SIZE, true),
            (Medium::Small, SMALL, true),
            (Medium::OneSector, SIZE, false),
        ] {
            let path = directory.path().join(format!("{medium:?}"));
            medium.make(&own, &path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, size);
            assert_eq!(bytes.iter().all(|byte| *byte == 0), is_blank, "{medium:?}");
        }
        // Without a disk of its own there is no copy of it.
        assert!(
            Medium::Own
                .make(&own, &directory.path().join("copy"))
                .is_err()
        );
    }
}
