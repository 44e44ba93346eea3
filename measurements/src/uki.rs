//! A unified kernel image: a PE whose sections are systemd-stub, kernel, initrd, command line and
//! what describes them (UAPI.5 "Unified Kernel Image").
//!
//! I/O: none.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::bytes::{index, slice};
use crate::pe::{Pe, relocations};
use crate::predict::pcr11;
use crate::{PeError, Sha256Digest, StubVersion, StubVersionError};

/// A parsed unified kernel image: its bytes and where its sections are.
///
/// Being parsed says that it is a well-formed PE, no more: whether its measurements can be
/// predicted is for [`crate::predict()`] to say.
#[derive(Clone)]
pub struct Uki {
    bytes: Vec<u8>,
    pe: Pe,
}

/// What a section is in memory: the bytes in the file, then zeros up to its VirtualSize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionData<'a> {
    stored: &'a [u8],
    zeros: usize,
}

impl Uki {
    /// Parses the PE that `bytes` is.
    ///
    /// # Errors
    ///
    /// [`PeError`] if it is not a PE, sections lie outside of it, or what the stub measures in
    /// memory would not be what is in the file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PeError> {
        let pe = Pe::parse(&bytes)?;
        relocations::check(&bytes, &pe, is_data)?;
        Ok(Self { bytes, pe })
    }

    /// The whole file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns which systemd-stub this is, from the section `.sdmagic`.
    ///
    /// # Errors
    ///
    /// [`StubVersionError`] if the section is missing or says something else. Versions that are
    /// not proven are returned all the same: see [`StubVersion::require_proven`].
    pub fn stub_version(&self) -> Result<StubVersion, StubVersionError> {
        let marker = self.section(".sdmagic").ok_or(StubVersionError::NoMarker)?;
        StubVersion::parse(marker.stored)
    }

    /// The names of all sections in the order of the section table; what is not printable ASCII in
    /// them is escaped.
    pub fn section_names(&self) -> impl Iterator<Item = String> {
        self.pe.sections.iter().map(|section| section.name())
    }

    /// Returns how many sections have this name.
    pub fn count(&self, name: &str) -> usize {
        self.pe
            .sections
            .iter()
            .filter(|s| s.name_bytes() == name.as_bytes())
            .count()
    }

    /// Returns the first section of this name as it is in memory.
    ///
    /// An empty section counts as absent: `PE_SECTION_VECTOR_IS_SET`, systemd v257
    /// `src/boot/pe.h`.
    pub fn section(&self, name: &str) -> Option<SectionData<'_>> {
        let section = self
            .pe
            .sections
            .iter()
            .find(|s| s.name_bytes() == name.as_bytes())?;
        let size = index(section.virtual_size);
        if size == 0 {
            return None;
        }
        // VirtualSize says how much of it counts; what the file has beyond is alignment.
        let stored = size.min(index(section.raw_size));
        let zeros = size.saturating_sub(stored);
        let stored = if stored == 0 {
            &[]
        } else {
            slice(&self.bytes, index(section.raw_offset), stored)?
        };
        Some(SectionData { stored, zeros })
    }
}

/// Says whether the stub takes a section of this name as it is: to measure it, or to make
/// something of it. The others are the stub's own code and data.
fn is_data(name: &[u8]) -> bool {
    let other = [".pcrsig", ".profile", ".dtbauto", ".sdmagic"];
    let mut names = pcr11::SECTIONS.iter().chain(&other);
    names.any(|data| data.as_bytes() == name)
}

impl fmt::Debug for Uki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections: Vec<_> = self.section_names().collect();
        f.debug_struct("Uki")
            .field("size", &self.bytes.len())
            .field("sections", &sections)
            .finish()
    }
}

impl<'a> SectionData<'a> {
    /// Its size in bytes: the section's VirtualSize.
    pub fn size(&self) -> usize {
        self.stored.len().saturating_add(self.zeros)
    }

    /// The SHA-256 digest of all its bytes.
    pub fn sha256(&self) -> Sha256Digest {
        let mut hash = Sha256::new();
        self.hash_into(&mut hash);
        crate::Digest(hash.finalize().into())
    }

    /// All its bytes; copied only if the file does not hold them all.
    pub fn to_bytes(&self) -> Cow<'a, [u8]> {
        if self.zeros == 0 {
            return Cow::Borrowed(self.stored);
        }
        let mut bytes = self.stored.to_vec();
        bytes.resize(self.size(), 0);
        Cow::Owned(bytes)
    }

    pub(crate) fn hash_into(&self, hash: &mut Sha256) {
        const ZEROS: [u8; 4096] = [0; 4096];
        hash.update(self.stored);
        let mut left = self.zeros;
        while left > 0 {
            let chunk = ZEROS.get(..left).unwrap_or(&ZEROS);
            hash.update(chunk);
            left = left.saturating_sub(chunk.len());
        }
    }
}
