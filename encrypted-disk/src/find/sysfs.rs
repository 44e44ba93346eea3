//! Reads the kernel's view of disks.
//!
//! I/O: reads sysfs, `/proc/self/mountinfo`, links in `/dev/disk/by-id`, below a root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::mounts::{self, Mount};
use super::{Disk, FindError};

/// sysfs counts in these, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// What dm-crypt's mappings of LUKS2 are called by cryptsetup.
const CRYPT_UUID: &str = "CRYPT-LUKS2-";

/// Where `/sys`, `/proc` and `/dev` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    /// This machine's.
    fn default() -> Self {
        Self::below("/")
    }
}

impl Sysfs {
    /// Those below a root, as a test makes them.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The entries of all disks: what has a device of its own, unlike loops and mappings, and is
    /// not one of the hidden paths of NVMe multipathing, a CD or a floppy.
    pub(super) fn disks(&self) -> Result<Vec<PathBuf>, FindError> {
        let block = self.root.join("sys/block");
        let mut disks = Vec::new();
        for entry in fs::read_dir(&block).map_err(reading(&block))? {
            let entry = entry.map_err(reading(&block))?.path();
            let is_other = name(&entry).starts_with("sr") || name(&entry).starts_with("fd");
            let is_hidden = optional(&entry.join("hidden"))?.is_some_and(|hidden| hidden == "1");
            if entry.join("device").exists() && !is_hidden && !is_other {
                disks.push(entry);
            }
        }
        disks.sort_unstable();
        Ok(disks)
    }

    /// What uses a disk or one of its partitions, but for our mapping.
    pub(super) fn user(&self, entry: &Path, mapping: &str) -> Result<Option<String>, FindError> {
        let mounts = self.mounts()?;
        let mut devices = vec![entry.to_owned()];
        for child in children(entry)? {
            if child.join("partition").exists() {
                devices.push(child);
            }
        }
        for device in devices {
            if let Some(holder) = holders(&device)?.into_iter().find(|h| !h.is_ours(mapping)) {
                return Ok(Some(format!("the mapping {}", holder.name)));
            }
            let number = optional(&device.join("dev"))?;
            if let Some(mount) = mounts
                .iter()
                .find(|mount| Some(&mount.device) == number.as_ref())
            {
                return Ok(Some(format!("the mount {}", mount.point)));
            }
        }
        Ok(None)
    }

    /// What is known about a disk.
    pub(super) fn disk(&self, entry: &Path, mapping: &str) -> Result<Disk, FindError> {
        let name = name(entry);
        let sectors = number(&entry.join("size"))?;
        let bytes = sectors.saturating_mul(SECTOR);
        let identity = match Self::serial(entry)? {
            Some(serial) => Some(serial),
            None => wwid(entry)?,
        };
        let serial = identity.clone();
        let serial = serial.unwrap_or_else(|| format!("{name}-{bytes}"));
        let holders = holders(entry)?;
        Ok(Disk {
            device: self.root.join("dev").join(&name),
            name,
            bytes,
            is_read_only: number(&entry.join("ro"))? != 0,
            serial,
            identity,
            sequence: sequence(entry)?,
            mapping: holders
                .into_iter()
                .find(|h| h.is_ours(mapping))
                .map(|h| h.name),
            entry: entry.to_owned(),
        })
    }

    /// The serial: virtio's, NVMe's, or SCSI's page 0x80, which is a header of four bytes and text.
    pub(super) fn serial(entry: &Path) -> Result<Option<String>, FindError> {
        for path in ["serial", "device/serial"] {
            if let Some(serial) = optional(&entry.join(path))?.filter(|text| !text.is_empty()) {
                return Ok(Some(serial));
            }
        }
        let page = entry.join("device/vpd_pg80");
        let bytes = match fs::read(&page) {
            Ok(bytes) => bytes,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(reading(&page)(error)),
        };
        let text = String::from_utf8_lossy(bytes.get(4..).unwrap_or_default());
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    /// Whether udev's link of this name points to the disk itself.
    pub(super) fn is_named(&self, entry: &Path, link: &str) -> Result<bool, FindError> {
        // A name, not a path out of the folder.
        if link.is_empty() || link.contains('/') || link.starts_with('.') {
            return Ok(false);
        }
        let path = self.root.join("dev/disk/by-id").join(link);
        match fs::read_link(&path) {
            Ok(target) => Ok(name(&target) == name(entry)),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(reading(&path)(error)),
        }
    }

    /// The mapping of this name, if there is one.
    pub(crate) fn mapping(&self, mapping: &str) -> Result<Option<Mapping>, FindError> {
        for entry in children(&self.root.join("sys/block"))? {
            if optional(&entry.join("dm/name"))?.as_deref() != Some(mapping) {
                continue;
            }
            let uuid = optional(&entry.join("dm/uuid"))?.unwrap_or_default();
            let mut disk = None;
            for device in children(&entry.join("slaves"))? {
                // The link outlives its disk, and leads to another one that has got its name; only the
                // disk itself says who holds it.
                if device.join("holders").join(name(&entry)).exists() {
                    disk = Some(name(&device));
                }
            }
            return Ok(Some(Mapping {
                number: optional(&entry.join("dev"))?,
                is_luks: uuid.starts_with(CRYPT_UUID),
                disk,
            }));
        }
        Ok(None)
    }

    /// Everything that is mounted.
    pub(crate) fn mounts(&self) -> Result<Vec<Mount>, FindError> {
        let path = self.root.join("proc/self/mountinfo");
        let table = fs::read_to_string(&path).map_err(reading(&path))?;
        Ok(mounts::parse(&table))
    }
}

/// A mapping that there is, whatever it is on.
pub(crate) struct Mapping {
    /// `MAJOR:MINOR`.
    pub(crate) number: Option<String>,
    /// Whether cryptsetup has made it of a LUKS2 header.
    pub(crate) is_luks: bool,
    /// The disk that it is on, if that is still there.
    pub(crate) disk: Option<String>,
}

/// A device on top of another one.
struct Holder {
    name: String,
    uuid: String,
}

impl Holder {
    fn is_ours(&self, mapping: &str) -> bool {
        self.name == mapping && self.uuid.starts_with(CRYPT_UUID)
    }
}

fn holders(entry: &Path) -> Result<Vec<Holder>, FindError> {
    let mut holders = Vec::new();
    for holder in children(&entry.join("holders"))? {
        let mapped = optional(&holder.join("dm/name"))?;
        holders.push(Holder {
            name: mapped.unwrap_or_else(|| name(&holder)),
            uuid: optional(&holder.join("dm/uuid"))?.unwrap_or_default(),
        });
    }
    Ok(holders)
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, FindError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(reading(folder)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(reading(folder))
}

fn wwid(entry: &Path) -> Result<Option<String>, FindError> {
    for path in ["wwid", "device/wwid"] {
        if let Some(wwid) = optional(&entry.join(path))?.filter(|text| !text.is_empty()) {
            return Ok(Some(wwid));
        }
    }
    Ok(None)
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// An attribute without the blanks around it, `None` if there is no such attribute.
pub(super) fn optional(path: &Path) -> Result<Option<String>, FindError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(reading(path)(error)),
    }
}

/// An attribute that is a number.
pub(super) fn optional_number(path: &Path) -> Result<Option<u64>, FindError> {
    let parse = |text: String| {
        text.parse().map_err(|_| FindError::Value {
            path: path.to_owned(),
            expected: "a number",
            actual: text,
        })
    };
    optional(path)?.map(parse).transpose()
}

fn number(path: &Path) -> Result<u64, FindError> {
    let absent = || reading(path)(io::ErrorKind::NotFound.into());
    optional_number(path)?.ok_or_else(absent)
}

/// The kernel's number for the disk that has this entry now.
pub(super) fn sequence(entry: &Path) -> Result<Option<u64>, FindError> {
    optional_number(&entry.join("diskseq"))
}

/// Where a link leads.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, FindError> {
    fs::canonicalize(path).map_err(reading(path))
}

/// Attributes may be missing, and a device that goes away takes its attributes along.
fn is_absence(error: &io::Error) -> bool {
    let has_gone = [Errno::NODEV, Errno::NXIO].map(|it| Some(it.raw_os_error()));
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || has_gone.contains(&error.raw_os_error())
}

fn reading(path: &Path) -> impl Fn(io::Error) -> FindError + use<> {
    let path = path.to_owned();
    move |source| FindError::Read {
        path: path.clone(),
        source,
    }
}
