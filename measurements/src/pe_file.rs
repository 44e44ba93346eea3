//! A PE somewhere in an image: its headers in memory, its contents where they are.
//!
//! I/O: reads the source that it is given.

use std::io::{Read, Seek};

use crate::digest::{Digests, Hasher};
use crate::pe::{self, Pe, PeError, SectionHeader, authenticode, relocations};
use crate::source::{Content, ReadError, Source};

/// A PE whose headers were parsed.
#[derive(Debug, Clone)]
pub(crate) struct PeFile {
    content: Content,
    pe: Pe,
}

/// Why a file is not a PE that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeFileError {
    /// It could not be read.
    #[error("the PE cannot be read")]
    Read(#[from] ReadError),
    /// It is something else, or one whose measurements would not be defined.
    #[error(transparent)]
    Pe(#[from] PeError),
}

impl PeFile {
    /// Reads the headers of the PE that `content` is.
    ///
    /// # Errors
    ///
    /// [`PeFileError`] if it is not a PE.
    pub(crate) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        content: Content,
    ) -> Result<Self, PeFileError> {
        let head = source.read_head(&content, pe::MAX_HEAD_SIZE)?;
        let pe = Pe::parse(&head, content.size())?;
        Ok(Self { content, pe })
    }

    /// All bytes of the file.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// The section table, in its order.
    pub(crate) fn sections(&self) -> &[SectionHeader] {
        &self.pe.sections
    }

    /// Checks that a loader changes nothing of the sections for which `is_data` holds.
    pub(crate) fn refuse_relocations<R: Read + Seek>(
        &self,
        source: &mut Source<R>,
        is_data: impl Fn(&[u8]) -> bool,
    ) -> Result<(), PeFileError> {
        let Some((offset, size)) = relocations::table(&self.pe)? else {
            return Ok(());
        };
        let table = source.read(&self.content.part(offset, size)?)?;
        Ok(relocations::check(&table, &self.pe, is_data)?)
    }

    /// What a section is in memory: VirtualSize bytes, of which the file holds the first. What the
    /// file has beyond is alignment.
    pub(crate) fn section_content(&self, section: &SectionHeader) -> Result<Content, ReadError> {
        let size = u64::from(section.virtual_size);
        let stored = size.min(section.raw_size.into());
        let mut content = match stored {
            // Where a section without bytes in the file begins says nothing.
            0 => Content::default(),
            _ => self.content.part(section.raw_offset.into(), stored)?,
        };
        content.append(&Content::zeros(size.saturating_sub(stored)));
        Ok(content)
    }

    /// The Authenticode digests of the file.
    pub(crate) fn authenticode<R: Read + Seek>(
        &self,
        source: &mut Source<R>,
    ) -> Result<Digests, PeFileError> {
        let mut hasher = Hasher::default();
        for range in authenticode::hashed_ranges(&self.pe)? {
            let size = range.end.saturating_sub(range.start);
            let part = self.content.part(range.start, size)?;
            source.stream(&part, |chunk| hasher.update(chunk))?;
        }
        Ok(hasher.finish())
    }
}
