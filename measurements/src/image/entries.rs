//! Which of its entries systemd-boot starts.
//!
//! I/O: reads directories of the EFI system partition.

use std::io::{Read, Seek};

use super::esp::Esp;
use super::{BootChainError, ImageError, Partition};
use crate::source::Source;

/// Where systemd-boot looks for UKIs: UAPI.1 "Boot Loader Specification", type 2.
pub(super) const FOLDER: [&str; 2] = ["EFI", "Linux"];

/// Where it looks for entries of type 1: text files.
const TYPE_1_FOLDER: [&str; 2] = ["loader", "entries"];

/// The entry that is started.
pub(super) struct Entry {
    /// The UKI's file name in [`FOLDER`].
    pub(super) name: String,
    /// What the user should know about the choice.
    pub(super) notes: Vec<String>,
}

/// Chooses the entry that is named, or the one that systemd-boot takes by itself.
///
/// # Errors
///
/// [`BootChainError`] if there is none, or it is not known which.
pub(super) fn choose<R: Read + Seek>(
    source: &mut Source<R>,
    partition: &Partition,
    wanted: Option<&str>,
) -> Result<Entry, ImageError> {
    let mut esp = Esp::new(source, partition);
    let mut candidates = esp.file_names(&FOLDER)?;
    candidates.retain(|name| name.to_ascii_lowercase().ends_with(".efi"));
    candidates.sort();
    let mut others = esp.file_names(&TYPE_1_FOLDER)?;
    others.retain(|name| name.to_ascii_lowercase().ends_with(".conf"));
    if let Some(wanted) = wanted {
        let found = candidates
            .iter()
            .find(|name| name.eq_ignore_ascii_case(wanted));
        let name = found.cloned().ok_or_else(|| BootChainError::UnknownEntry {
            wanted: wanted.to_owned(),
            candidates: candidates.clone(),
        })?;
        return Ok(Entry {
            name,
            notes: Vec::new(),
        });
    }
    let undecided = |reason: &str| BootChainError::UndecidedEntry {
        reason: reason.to_owned(),
        candidates: candidates.clone(),
    };
    match candidates.as_slice() {
        [] => Err(BootChainError::NoEntry.into()),
        [name] if others.is_empty() => Ok(Entry {
            name: name.clone(),
            notes: Vec::new(),
        }),
        [_] => Err(undecided("there are entries of type 1 (loader/entries) too").into()),
        _ => Err(undecided("there are several").into()),
    }
}
