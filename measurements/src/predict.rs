//! Predicts the registers that the boot of an image leaves behind, event by event.
//!
//! One file per register, each naming the upstream source that it mirrors; what differs between
//! versions of systemd-stub is one table, `stub_rules.rs`. Predicted is a boot without what is not
//! in the image: no load options, no SMBIOS strings (the stub ignores those in a confidential VM),
//! no userspace unit that extends the same registers (`systemd-pcrphase` and its kin masked).
//!
//! Left out: registers that depend on firmware or the machine (0 to 3, 5 to 7).
//!
//! I/O: reads the image.

pub(crate) mod command_line;
pub(crate) mod initrd;
mod kernel;
pub mod pcr04;
pub mod pcr09;
pub mod pcr11;
pub mod pcr12;
mod register;
mod sections;
mod stub_rules;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

pub(crate) use kernel::Linux;
pub use register::{Event, Register};
use sections::Sections;
pub(crate) use stub_rules::StubRules;
use stub_rules::{KernelStart, Proof};

use crate::source::ReadError;
use crate::{Digests, Image, PeFileError, StubVersion, StubVersionError};

/// Largest of the sections that are held in memory, because they are shown, decoded, or wrapped in
/// an archive: 1 MiB, where a kilobyte is usual.
const MAX_TEXT_SIZE: u64 = 1 << 20;

/// What an image measures to: its registers, each with the events that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// By index, the registers of the vTPM that are extended by what is in the image: 4, 9 and 11;
    /// 12 too if an old systemd-boot hands on the command line.
    pub registers: BTreeMap<u8, Register>,
    /// What the reader should know: sections that are not measured, how an entry was chosen, rules
    /// that were never proven against a boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why it is not known what an image measures to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The image could not be read.
    #[error("the image cannot be read")]
    Read(#[from] ReadError),
    /// The stub is unknown, or its rules are not.
    #[error(transparent)]
    Stub(#[from] StubVersionError),
    /// There is no such profile; the stub would not boot.
    #[error("expected a profile from 0 to {}, got {wanted}: {reason}", count.saturating_sub(1))]
    NoSuchProfile {
        /// Which was asked for.
        wanted: u32,
        /// How many there are; 0 is booted all the same if there are none.
        count: usize,
        /// Why there are no more.
        reason: String,
    },
    /// systemd-boot hands the command line to the UKI, and what becomes of it is not known.
    #[error("what systemd-boot {loader} hands on to the UKI is not known: {reason}")]
    HandedOn {
        /// Its version.
        loader: String,
        /// Why.
        reason: String,
    },
    /// Which of several sections counts is not known for this version of the stub.
    #[error("which {section} counts is not known for systemd-stub {version}: several could")]
    AmbiguousSection {
        /// The section's name.
        section: &'static str,
        /// The stub's version.
        version: String,
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
        actual: u64,
    },
    /// The kernel is of a kind that was never measured here.
    #[error("the kernel in section .linux is {actual}, expected Linux {oldest} or newer")]
    Kernel {
        /// What it is.
        actual: String,
        /// The oldest version whose measurements are known.
        oldest: &'static str,
    },
    /// A PE has no Authenticode digest.
    #[error("{what} has no Authenticode digest")]
    Authenticode {
        /// Which PE.
        what: &'static str,
        /// Why.
        source: PeFileError,
    },
}

impl Prediction {
    /// Registers that this boot chain extends nothing into, so that they stay zero: 8 (GRUB), 12
    /// (stub: add-ons, credentials, a command line from outside), 13 (stub: system extensions), 14
    /// (shim), 15 (userspace, masked).
    pub const UNTOUCHED: [u8; 5] = [8, 12, 13, 14, 15];

    /// Returns what a register is predicted to be; `None` if that depends on firmware or machine.
    pub fn value(&self, register: u8) -> Option<Digests> {
        let untouched = || Self::UNTOUCHED.contains(&register).then_some(Digests::ZERO);
        let predicted = self.registers.get(&register);
        predicted
            .map(|predicted| predicted.value)
            .or_else(untouched)
    }
}

/// Predicts what the boot of `image` measures into the registers of a vTPM.
///
/// The image need not be trusted: the result only says what it would measure to.
///
/// # Errors
///
/// [`PredictError`] if the rules for this image are not known for certain. Nothing is guessed.
pub fn predict<R: Read + Seek>(image: &mut Image<R>) -> Result<Prediction, PredictError> {
    let boot = Boot::of(image)?;
    let mut registers = BTreeMap::from([(pcr04::INDEX, pcr04::predict(image, &boot)?)]);
    // Before 252 the stub measures no section, and Linux is told nothing that it would measure.
    if boot.rules.kernel != KernelStart::Handover {
        let measured = pcr09::predict(image, &boot)?;
        registers.extend(measured.map(|register| (pcr09::INDEX, register)));
    }
    if !boot.rules.measured.is_empty() {
        registers.insert(pcr11::INDEX, pcr11::predict(image, &boot)?);
    }
    let config = pcr12::predict(image, &boot)?;
    registers.extend(config.map(|register| (pcr12::INDEX, register)));
    let mut notes = boot.notes(image);
    if boot.rules.initrd.has_boot_secret && !registers.contains_key(&pcr09::INDEX) {
        notes.push(format!(
            "PCR 9 is not predicted: systemd-stub {} adds a secret of the machine to the initrd, or its \
             consoles to the command line; an image prevents that by a file loader/boot-secret-mixin of \
             1 to 31 bytes and a console= of its own",
            boot.version
        ));
    }
    Ok(Prediction { registers, notes })
}

/// What is known of a boot before anything is hashed.
pub(crate) struct Boot {
    pub(crate) version: StubVersion,
    pub(crate) rules: StubRules,
    /// The sections that this stub takes, for the profile that is booted.
    pub(crate) sections: Sections,
    /// Which Linux is started, if the kernel says so.
    pub(crate) linux: Option<Linux>,
}

impl Boot {
    pub(crate) fn of<R: Read + Seek>(image: &mut Image<R>) -> Result<Self, PredictError> {
        let version = match &image.assumptions.stub_version {
            Some(version) => version.clone(),
            None => image.stub_version()?,
        };
        let rules = StubRules::of(&version)?;
        let profile = image.assumptions.profile;
        let sections = Sections::of(&image.chain.uki, &rules, &version, profile)?;
        let linux = sections.required(".linux")?;
        let linux = kernel::check(&mut image.source, linux.clone(), &rules)?;
        Ok(Self {
            version,
            rules,
            sections,
            linux,
        })
    }

    fn notes<R>(&self, image: &Image<R>) -> Vec<String> {
        let mut notes = image.chain.notes.clone();
        notes.extend(self.sections.notes(&self.version));
        if self.linux.is_none() {
            notes.push(
                "the kernel in .linux does not say that it is Linux; taken for Linux 6.1 or newer"
                    .to_owned(),
            );
        }
        let version = &self.version;
        notes.extend(match Proof::of(version) {
            Proof::Booted => None,
            Proof::Read => Some(format!(
                "the rules for systemd-stub {version} are from its source, not proven against a boot"
            )),
            Proof::Inferred => Some(format!(
                "the rules for systemd-stub {version} are inferred from its neighbours' source"
            )),
        });
        notes
    }
}
