//! What is started, one after the other: firmware starts a UKI, or systemd-boot which starts one.
//!
//! I/O: reads the headers of the files that are started.

use std::io::{Read, Seek};

use super::esp::{self, Esp};
use super::{Assumptions, ImageError, Partition, entries};
use crate::source::{Content, Source};
use crate::uki::Uki;

/// Begins the section `.sdmagic` of systemd-boot: `DECLARE_NOALLOC_SECTION(".sdmagic", …)` in
/// systemd's `src/boot/boot.c`.
const LOADER_MARKER: &[u8] = b"#### LoaderInfo: systemd-boot ";

/// Why the files of an image do not lead to one UKI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootChainError {
    /// The partition holds files that stub or loader would add to what the UKI says.
    #[error(
        "the EFI system partition has {path:?}, which {by} takes in addition to the UKI; \
         build an image without it"
    )]
    Sidecar {
        /// The file's path in the partition.
        path: String,
        /// What takes it: systemd-stub or systemd-boot.
        by: &'static str,
    },
    /// Firmware and loader read such a name in ways of their own.
    #[error(
        "the EFI system partition has a file named {path:?}; expected names that are plain text"
    )]
    OddName {
        /// The file's path.
        path: String,
    },
    /// The firmware starts something whose measurements are not known.
    #[error(
        "expected {path} to be a unified kernel image (with a section .linux) or systemd-boot \
         (.sdmagic says so), got another program; what it loads cannot be predicted"
    )]
    UnknownProgram {
        /// The program's path.
        path: String,
    },
    /// systemd-boot has nothing to start.
    #[error("systemd-boot has no entry to start: expected a UKI (.efi) in EFI/Linux")]
    NoEntry,
    /// There is no such entry.
    #[error("expected an entry {wanted:?}, got {}", candidates.join(", "))]
    UnknownEntry {
        /// What was asked for.
        wanted: String,
        /// What there is, in the order of systemd-boot's menu.
        candidates: Vec<String>,
    },
    /// systemd-boot would start something that is not a UKI, or what it starts depends on more
    /// than the image.
    #[error(
        "which entry systemd-boot starts is not known: {reason}; name one of {} (--entry)",
        candidates.join(", ")
    )]
    UndecidedEntry {
        /// Why.
        reason: String,
        /// What there is, in the order of systemd-boot's menu.
        candidates: Vec<String>,
    },
    /// An entry was named where nothing chooses between entries.
    #[error("the firmware starts {path} itself, so that there is no entry {wanted:?} to choose")]
    NoLoader {
        /// What the firmware starts.
        path: String,
        /// What was asked for.
        wanted: String,
    },
}

/// A file that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its path in the EFI system partition; empty if the image is the file itself.
    pub path: String,
    /// What its section `.sdmagic` says it is: `systemd-stub 257.13`; escaped, and empty if it says
    /// nothing.
    pub program: String,
}

/// A boot loader if there is one, and the UKI.
#[derive(Debug)]
pub(crate) struct BootChain {
    pub(crate) loader: Option<Uki>,
    pub(crate) uki: Uki,
    loaded: Vec<Loaded>,
    /// Whether the partition keeps a stub of 261 or newer from adding a secret of the machine to the
    /// initrd.
    pub(crate) forbids_boot_secret: bool,
    /// What the user should know about how the UKI was found.
    pub(crate) notes: Vec<String>,
}

impl BootChain {
    /// The chain of a bare UKI, which firmware starts itself.
    pub(super) fn bare<R: Read + Seek>(
        source: &mut Source<R>,
        content: Content,
    ) -> Result<Self, ImageError> {
        let uki = read_pe(source, "the image", content)?;
        Ok(Self {
            loaded: vec![describe(String::new(), &uki)],
            loader: None,
            uki,
            forbids_boot_secret: false,
            notes: Vec::new(),
        })
    }

    /// The chain that begins with `EFI/BOOT/BOOTX64.EFI` of this partition.
    pub(super) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        partition: &Partition,
        assumptions: &Assumptions,
    ) -> Result<Self, ImageError> {
        let mut esp = Esp::new(source, partition);
        let path = esp::FALLBACK.join("/");
        let content = esp.locate(&esp::FALLBACK)?;
        let forbids_boot_secret = esp.forbids_boot_secret()?;
        let first = read_pe(source, &path, content)?;
        let described = describe(path.clone(), &first);
        let wanted = assumptions.entry.as_deref();
        if first.has_kernel() {
            if let Some(wanted) = wanted {
                let wanted = wanted.to_owned();
                return Err(BootChainError::NoLoader { path, wanted }.into());
            }
            Esp::new(source, partition).refuse_sidecars(&esp::FALLBACK)?;
            return Ok(Self {
                loader: None,
                uki: first,
                loaded: vec![described],
                forbids_boot_secret,
                notes: Vec::new(),
            });
        }
        if !first.marker().is_some_and(|m| m.starts_with(LOADER_MARKER)) {
            return Err(BootChainError::UnknownProgram { path }.into());
        }
        let entry = entries::choose(source, partition, wanted)?;
        let path: Vec<&str> = entries::FOLDER
            .into_iter()
            .chain([entry.name.as_str()])
            .collect();
        let mut esp = Esp::new(source, partition);
        esp.refuse_drivers_and_keys()?;
        esp.refuse_sidecars(&path)?;
        let content = esp.locate(&path)?;
        let path = path.join("/");
        let uki = read_pe(source, &path, content)?;
        if !uki.has_kernel() {
            return Err(BootChainError::UnknownProgram { path }.into());
        }
        Ok(Self {
            loaded: vec![described, describe(path, &uki)],
            loader: Some(first),
            uki,
            forbids_boot_secret,
            notes: entry.notes,
        })
    }

    pub(super) fn loaded(&self) -> Vec<&Loaded> {
        self.loaded.iter().collect()
    }
}

fn read_pe<R: Read + Seek>(
    source: &mut Source<R>,
    path: &str,
    content: Content,
) -> Result<Uki, ImageError> {
    Uki::read(source, content).map_err(|source| ImageError::Pe {
        path: path.to_owned(),
        source,
    })
}

fn describe(path: String, pe: &Uki) -> Loaded {
    let marker = pe.marker().unwrap_or_default();
    let text = marker.escape_ascii().to_string();
    let frame = text.strip_prefix("#### LoaderInfo: ");
    let program = frame.and_then(|rest| rest.strip_suffix(" ####"));
    Loaded {
        path,
        program: program.unwrap_or(&text).to_owned(),
    }
}
