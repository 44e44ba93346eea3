//! What an operator can do about a disk that is not used.
//!
//! I/O: none.

use encrypted_disk::{Disk, DiskError, OpenRefusal, Refusal};

use crate::config::disk::KeySource;

/// What follows the error; nothing where trying again is all there is.
pub(super) fn advice(error: &DiskError, disk: &Disk, source: &KeySource) -> String {
    let KeySource::Configuration { key, previous } = source;
    let what = match error {
        DiskError::Refused(Refusal::ReadOnly) => "attach it so that it can be written".to_owned(),
        DiskError::Refused(Refusal::Small { .. } | Refusal::Uneven { .. }) => {
            "attach a disk of another size".to_owned()
        }
        DiskError::Refused(Refusal::Unreadable { .. })
        | DiskError::NotOpened(OpenRefusal::Unreadable { .. }) => {
            "the disk is broken: restore it from a copy, or attach another one".to_owned()
        }
        DiskError::Refused(Refusal::FormatNotAllowed) => "attach the disk that has the data".to_owned(),
        DiskError::Refused(_) => "attach the node's own disk, or a blank one".to_owned(),
        DiskError::NotOpened(OpenRefusal::WrongKey { .. }) => match previous {
            Some(previous) => {
                format!("give the node the key that the disk wants, as {key}, or as {previous} to replace it")
            }
            None => format!("give the node the key that the disk wants, as {key}"),
        },
        DiskError::NotOpened(_) => "restore the disk from a copy, or attach a blank one".to_owned(),
        DiskError::FileSystem { .. } => {
            "restore the disk from a copy, or boot an image whose disk.check is \"danger-repair-all\"".to_owned()
        }
        DiskError::Unchecked { .. } => {
            "restart the machine if it stays so; if e2fsck does not recognise the file system, restore the disk from a \
             copy, or attach a blank one"
                .to_owned()
        }
        DiskError::MappingTaken { .. } | DiskError::LeftOver { .. } => {
            "restart the machine if it stays so".to_owned()
        }
        _ => return String::new(),
    };
    let or_format = if error.is_about_content() {
        let serial = &disk.serial;
        format!("; or confirm by the serial {serial:?} that it is formatted and what is on it lost")
    } else {
        String::new()
    };
    format!("; nothing more is written to it; {what}{or_format}")
}
