//! Predicts the registers that the boot of a UKI leaves behind, event by event.
//!
//! One file per register, each naming the upstream source that it mirrors. What is predicted is
//! proven for firmware that boots `EFI/BOOT/BOOTX64.EFI` without load options, systemd-stub 257
//! in a confidential VM (it then ignores SMBIOS), and Linux 6.12; no userspace unit may extend the
//! same registers (`systemd-pcrphase` and its kin masked).
//!
//! Left out: registers that depend on firmware or the machine (0 to 3, 5 to 7).
//!
//! I/O: none.

pub(crate) mod command_line;
pub(crate) mod initrd;
pub mod pcr04;
pub mod pcr09;
pub mod pcr11;
mod register;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use register::{Event, Register};

use crate::{PeError, Sha256Digest, StubVersionError, Uki};

/// Sections that are copied: shown, decoded, or wrapped in an archive.
const TEXTS: [&str; 5] = [".cmdline", ".uname", ".osrel", ".pcrsig", ".pcrpkey"];

/// Largest of these: 1 MiB, where a kilobyte is usual.
const MAX_TEXT_SIZE: usize = 1 << 20;

/// What an image measures to: its registers, each with the events that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// The registers 4, 9 and 11 of the vTPM's SHA-256 bank, by index.
    pub registers: BTreeMap<u8, Register>,
}

/// Why it is not known what an image measures to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The stub is unknown, or its rules are not proven.
    #[error(transparent)]
    Stub(#[from] StubVersionError),
    /// The UKI has `.profile` sections: which of them is booted is chosen at boot.
    #[error(
        "the UKI has several profiles (a .profile section), which is not supported yet; \
         build a UKI without profiles"
    )]
    MultiProfile,
    /// A section is there twice. The stub takes the first, other readers might take the last.
    #[error("the UKI has {count} sections {section}, expected 1")]
    DuplicateSection {
        /// The section's name.
        section: String,
        /// How often it is there.
        count: usize,
    },
    /// A section is not there without which the machine would not boot as predicted.
    #[error("the UKI has no {section} section, or an empty one")]
    MissingSection {
        /// The section's name.
        section: &'static str,
    },
    /// Whether a section is measured depends on the machine.
    #[error("the UKI has a {section} section, which is measured on some machines only")]
    MachineDependent {
        /// The section's name.
        section: &'static str,
    },
    /// A section that holds a few lines of text is larger than is sensible.
    #[error("section {section} has {actual} bytes, expected at most {MAX_TEXT_SIZE}")]
    SectionSize {
        /// The section's name.
        section: &'static str,
        /// Its size in memory.
        actual: usize,
    },
    /// The command line is not ASCII; how the stub decodes it is not proven.
    #[error("expected the command line to be ASCII, got {byte:#04x} at byte {offset} of .cmdline")]
    CommandLine {
        /// Where in `.cmdline`.
        offset: usize,
        /// What stands there.
        byte: u8,
    },
    /// The UKI has no Authenticode digest.
    #[error("the UKI has no Authenticode digest")]
    Authenticode(#[source] PeError),
    /// The kernel inside the UKI has no Authenticode digest.
    #[error("the kernel in section .linux has no Authenticode digest")]
    KernelAuthenticode(#[source] PeError),
}

impl Prediction {
    /// Registers that this boot chain extends nothing into, so that they stay zero: 8 (GRUB), 12
    /// (stub: add-ons, credentials, a command line from outside), 13 (stub: system extensions), 14
    /// (shim), 15 (userspace, masked).
    pub const UNTOUCHED: [u8; 5] = [8, 12, 13, 14, 15];

    /// Returns what a register is predicted to be; `None` if that depends on firmware or machine.
    pub fn value(&self, register: u8) -> Option<Sha256Digest> {
        let untouched = || {
            Self::UNTOUCHED
                .contains(&register)
                .then_some(Sha256Digest::ZERO)
        };
        self.registers
            .get(&register)
            .map(|predicted| predicted.value)
            .or_else(untouched)
    }
}

/// Predicts what the boot of `uki` measures into PCR 4, 9 and 11.
///
/// `uki` need not be trusted: the result only says what it would measure to.
///
/// # Errors
///
/// [`PredictError`] if the rules for this UKI are not known for certain. Nothing is guessed.
pub fn predict(uki: &Uki) -> Result<Prediction, PredictError> {
    if uki.count(".profile") > 0 {
        return Err(PredictError::MultiProfile);
    }
    refuse_duplicates(uki)?;
    refuse_long_texts(uki)?;
    uki.stub_version()?.require_proven()?;
    // systemd v257 src/boot/pe.c, pe_locate_sections_internal(): taken if it fits the machine.
    if uki.count(".dtbauto") > 0 {
        return Err(PredictError::MachineDependent {
            section: ".dtbauto",
        });
    }
    let registers = [
        (pcr04::INDEX, pcr04::predict(uki)?),
        (pcr09::INDEX, pcr09::predict(uki)?),
        (pcr11::INDEX, pcr11::predict(uki)?),
    ];
    Ok(Prediction {
        registers: registers.into(),
    })
}

fn refuse_duplicates(uki: &Uki) -> Result<(), PredictError> {
    let mut names = BTreeSet::new();
    for section in uki.section_names() {
        if !names.insert(section.clone()) {
            let count = uki.section_names().filter(|name| *name == section).count();
            return Err(PredictError::DuplicateSection { section, count });
        }
    }
    Ok(())
}

/// Keeps what is held in memory beside the UKI small.
fn refuse_long_texts(uki: &Uki) -> Result<(), PredictError> {
    for section in TEXTS {
        let actual = uki.section(section).map_or(0, |section| section.size());
        if actual > MAX_TEXT_SIZE {
            return Err(PredictError::SectionSize { section, actual });
        }
    }
    Ok(())
}

fn required<'a>(
    uki: &'a Uki,
    section: &'static str,
) -> Result<crate::SectionData<'a>, PredictError> {
    uki.section(section)
        .ok_or(PredictError::MissingSection { section })
}
