//! A unified kernel image: a PE whose sections are systemd-stub, kernel, initrd, command line and
//! what describes them (UAPI.5 "Unified Kernel Image").
//!
//! I/O: reads the source that it is given.

use std::io::{Read, Seek};

use crate::pe::SectionHeader;
use crate::pe_file::{PeFile, PeFileError};
use crate::source::{Content, ReadError, Source};
use crate::{StubVersion, StubVersionError};

/// Begins a profile: what comes before the first is for all of them.
pub(crate) const PROFILE: &str = ".profile";

/// Says what made the PE, and which version of it: `#### LoaderInfo: systemd-stub 257 ####`.
const MARKER: &str = ".sdmagic";

/// Most that is read of a marker, which has some fifty bytes.
const MAX_MARKER_SIZE: u64 = 256;

/// Sections that the stub takes as they are, in any version: to measure them, or to make something
/// of them. The others are the stub's own code and data.
const DATA: [&str; 16] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrsig", ".pcrpkey", PROFILE, ".dtbauto", ".hwids", ".efifw", MARKER,
];

/// A PE of which it is known what made it: systemd-stub, systemd-boot, or something else.
///
/// Being parsed says that it is a well-formed PE, no more: whether its measurements can be
/// predicted is for [`crate::predict()`] to say.
#[derive(Debug, Clone)]
pub(crate) struct Uki {
    file: PeFile,
    marker: Option<Vec<u8>>,
}

impl Uki {
    /// Reads the headers of the PE that `content` is.
    ///
    /// # Errors
    ///
    /// [`PeFileError`] if it is not a PE, or what the stub measures in memory would not be what is
    /// in the file.
    pub(crate) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        content: Content,
    ) -> Result<Self, PeFileError> {
        let file = PeFile::read(source, content)?;
        // Stubs up to 255 take a section whose name only begins so.
        file.refuse_relocations(source, |name| {
            DATA.iter().any(|d| name.starts_with(d.as_bytes()))
        })?;
        let marker = find(file.sections(), MARKER).map(|section| file.section_content(section));
        let marker = match marker.transpose()? {
            Some(content) => Some(source.read_head(&content, MAX_MARKER_SIZE)?),
            None => None,
        };
        Ok(Self { file, marker })
    }

    pub(crate) fn file(&self) -> &PeFile {
        &self.file
    }

    /// What `.sdmagic` says, without the NULs at its end.
    pub(crate) fn marker(&self) -> Option<&[u8]> {
        let marker = self.marker.as_deref()?;
        let end = marker.iter().rposition(|byte| *byte != 0);
        marker.get(..end.map_or(0, |end| end.saturating_add(1)))
    }

    /// Says whether this is a unified kernel image at all.
    pub(crate) fn has_kernel(&self) -> bool {
        find(self.file.sections(), ".linux").is_some()
    }

    /// Which systemd-stub this is, from the section `.sdmagic`.
    ///
    /// # Errors
    ///
    /// [`StubVersionError`] if the section is missing or says something else.
    pub(crate) fn stub_version(&self) -> Result<StubVersion, StubVersionError> {
        StubVersion::parse(self.marker().ok_or(StubVersionError::NoMarker)?)
    }

    /// Splits the section table at its `.profile` sections: what is for all profiles, then what
    /// each profile adds to that or has instead of it.
    pub(crate) fn regions(&self) -> (&[SectionHeader], Vec<&[SectionHeader]>) {
        let is_profile = |section: &SectionHeader| section.name_bytes() == PROFILE.as_bytes();
        let sections = self.file.sections();
        let first = sections.iter().position(is_profile);
        let (base, rest) = sections.split_at(first.unwrap_or(sections.len()));
        let mut profiles = Vec::new();
        let mut left = rest;
        while let Some((_, others)) = left.split_first() {
            let next = others.iter().position(is_profile);
            let size = next.map_or(left.len(), |next| next.saturating_add(1));
            let (profile, rest) = left.split_at(size);
            profiles.push(profile);
            left = rest;
        }
        (base, profiles)
    }

    /// What a section is in memory.
    pub(crate) fn content(&self, section: &SectionHeader) -> Result<Content, ReadError> {
        self.file.section_content(section)
    }
}

/// Returns the first section of this name that is not empty.
///
/// An empty section counts as absent: `PE_SECTION_VECTOR_IS_SET`, systemd v257 `src/boot/pe.h`.
pub(crate) fn find<'a>(sections: &'a [SectionHeader], name: &str) -> Option<&'a SectionHeader> {
    sections
        .iter()
        .find(|s| s.name_bytes() == name.as_bytes() && s.virtual_size > 0)
}
