//! The parts of a Portable Executable that measured boot looks at: section table, and what
//! Authenticode leaves out.
//!
//! Follows Microsoft's "PE Format" specification; names in comments are that document's.
//! What is in memory when the image runs must be what is in the file: sections that lie over each
//! other, and relocations of measured bytes, are refused. Left out: imports, signatures' contents.
//!
//! I/O: none; what is parsed is the file's head, what is hashed are ranges for the caller to read.

pub(crate) mod authenticode;
mod error;
pub(crate) mod relocations;

use crate::bytes::{array, index, slice, u16_le, u32_le};

pub use error::PeError;

/// Most sections that a PE may have: the limit of the Windows loader, as "PE Format" states it
/// under NumberOfSections. A UKI has about fifteen.
const MAX_SECTIONS: u16 = 96;

/// Largest PE that is read: 1 GiB, several times what a UKI is.
pub(crate) const MAX_SIZE: u64 = 1 << 30;

/// How much of a file may be headers and section table: 1 MiB, where a UKI has 2 KiB.
pub(crate) const MAX_HEAD_SIZE: u64 = 1 << 20;

/// How much more all sections together may be in memory than the file is: zeros behind the bytes
/// that are stored. A UKI has next to none, a kernel its working space.
const MAX_ZEROS: u64 = 64 << 20;

/// Machine in the COFF header: IMAGE_FILE_MACHINE_AMD64.
const MACHINE_X64: u16 = 0x8664;

/// Bytes of one entry of the section table.
const SECTION_HEADER_SIZE: usize = 40;

/// Index of the certificate table ("security") in the data directories.
const CERTIFICATE_DIRECTORY: usize = 4;

/// Index of the base relocations in the data directories.
const RELOCATION_DIRECTORY: usize = 5;

/// The headers of a PE.
#[derive(Debug, Clone)]
pub(crate) struct Pe {
    pub(crate) sections: Vec<SectionHeader>,
    /// Linux says here, since 5.8, that it loads its initrd itself.
    pub(crate) major_image_version: u16,
    /// Bytes of the whole file.
    file_size: u64,
    /// SizeOfHeaders: everything before the first section.
    headers_size: u64,
    /// Where CheckSum is, 4 bytes.
    checksum_offset: u64,
    /// Where the certificate table's data directory is (8 bytes), and the table's size.
    certificates: Option<(u64, u64)>,
    /// Where the base relocations are in memory, and their size.
    relocations: Option<(u32, u32)>,
}

/// One entry of the section table.
#[derive(Debug, Clone)]
pub(crate) struct SectionHeader {
    name: [u8; 8],
    pub(crate) virtual_size: u32,
    virtual_address: u32,
    pub(crate) raw_size: u32,
    pub(crate) raw_offset: u32,
}

impl SectionHeader {
    /// The name without its padding, for people: what is not printable ASCII is escaped.
    pub(crate) fn name(&self) -> String {
        self.name_bytes().escape_ascii().to_string()
    }

    /// Names of eight bytes have no NUL.
    pub(crate) fn name_bytes(&self) -> &[u8] {
        self.name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// Says whether the name begins with these bytes.
    pub(crate) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.name.starts_with(prefix)
    }

    /// How many bytes of memory a loader fills: VirtualSize, or what is stored if that is 0 (EDK II
    /// `MdePkg/Library/BasePeCoffLib/BasePeCoff.c`, `PeCoffLoaderLoadImage`).
    fn memory_size(&self) -> u32 {
        match self.virtual_size {
            0 => self.raw_size,
            size => size,
        }
    }

    /// Says whether a loader puts a byte of it at this address.
    fn is_at(&self, address: u64) -> bool {
        let offset = address.checked_sub(self.virtual_address.into());
        offset.is_some_and(|offset| offset < self.memory_size().into())
    }

    /// Says whether a loader puts a byte of it at one of these addresses.
    fn overlaps(&self, first: u64, last: u64) -> bool {
        let start = u64::from(self.virtual_address);
        let end = start.saturating_add(self.memory_size().into());
        first < end && last >= start
    }

    fn parse(header: &[u8]) -> Option<Self> {
        Some(Self {
            name: array(header, 0)?,
            virtual_size: u32_le(header, 8)?,
            virtual_address: u32_le(header, 12)?,
            raw_size: u32_le(header, 16)?,
            raw_offset: u32_le(header, 20)?,
        })
    }
}

/// Says whether a file may be a program for x86-64: not, if it has no PE signature, or another
/// Machine. `head` is the first [`MAX_HEAD_SIZE`] bytes of the file, or all if there are fewer.
pub(crate) fn may_be_x64(head: &[u8], file_size: u64) -> bool {
    // What is beyond the head is not known.
    let is_unknown = file_size > head.len() as u64;
    let matches = |found: Option<bool>| found.unwrap_or(is_unknown);
    let offset = u32_le(head, 0x3c).map(index);
    let Some(offset) = offset.filter(|_| array(head, 0) == Some(*b"MZ")) else {
        return false;
    };
    matches(array(head, offset).map(|signature| signature == *b"PE\0\0"))
        && matches(u16_le(head, offset.saturating_add(4)).map(|machine| machine == MACHINE_X64))
}

impl Pe {
    /// Parses the headers of a PE, PE32 and PE32+, from the head of its file: the first
    /// [`MAX_HEAD_SIZE`] bytes, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// [`PeError`] if a header is missing or malformed, a section is not inside the file, or
    /// sections lie over each other or outside of the image in memory, or their table is not in
    /// the headers.
    pub(crate) fn parse(head: &[u8], file_size: u64) -> Result<Self, PeError> {
        if file_size > MAX_SIZE {
            return Err(PeError::TooLarge { actual: file_size });
        }
        let truncated = |what, offset| move || PeError::Truncated { what, offset };

        let magic = u16_le(head, 0).ok_or_else(truncated("DOS header", 0))?;
        if magic.to_le_bytes() != *b"MZ" {
            return Err(PeError::Magic {
                what: "the DOS magic",
                expected: "MZ",
                actual: magic.into(),
            });
        }
        let pe = u32_le(head, 0x3c)
            .map(index)
            .ok_or_else(truncated("DOS header", 0))?;
        let magic = u32_le(head, pe).ok_or_else(truncated("PE signature", pe))?;
        if magic.to_le_bytes() != *b"PE\0\0" {
            return Err(PeError::Magic {
                what: "the signature",
                expected: "PE",
                actual: magic,
            });
        }

        // COFF header: 20 bytes after the signature, then the optional header.
        let field = |offset: usize| pe.saturating_add(offset);
        let count = u16_le(head, field(6)).ok_or_else(truncated("COFF header", pe))?;
        let optional_size = u16_le(head, field(20)).ok_or_else(truncated("COFF header", pe))?;
        let start = field(24);
        let optional = slice(head, start, optional_size.into())
            .ok_or_else(truncated("optional header", start))?;
        let short = truncated("optional header", start);

        let magic = u16_le(optional, 0).ok_or_else(short)?;
        let directories: usize = match magic {
            0x10b => 96,
            0x20b => 112,
            actual => {
                let expected = "0x10b or 0x20b";
                let what = "the optional header's magic";
                return Err(PeError::Magic {
                    what,
                    expected,
                    actual: actual.into(),
                });
            }
        };
        let major_image_version = u16_le(optional, 44).ok_or_else(short)?;
        let size_of_image = u32_le(optional, 56).ok_or_else(short)?;
        let headers_size = u32_le(optional, 60).ok_or_else(short)?;
        u32_le(optional, 64).ok_or_else(short)?;
        let directory_count = u32_le(optional, directories.saturating_sub(4))
            .map(index)
            .ok_or_else(short)?;
        // Where a data directory's entry is, and the address and size in it.
        let directory = |number: usize| {
            if directory_count <= number {
                return Ok(None);
            }
            let entry = directories.saturating_add(number.saturating_mul(8));
            let address = u32_le(optional, entry).ok_or_else(short)?;
            let size = u32_le(optional, entry.saturating_add(4)).ok_or_else(short)?;
            Ok(Some((start.saturating_add(entry), address, size)))
        };
        let certificates = directory(CERTIFICATE_DIRECTORY)?;
        let relocations = directory(RELOCATION_DIRECTORY)?;

        let table = start.saturating_add(optional_size.into());
        let sections = parse_sections(head, table, count, file_size)?;
        let end = SECTION_HEADER_SIZE
            .saturating_mul(count.into())
            .saturating_add(table) as u64;
        let limit = u64::from(headers_size);
        if end > limit {
            return Err(PeError::SectionTable { end, limit });
        }
        check_memory(&sections, headers_size, size_of_image)?;
        Ok(Self {
            sections,
            major_image_version,
            file_size,
            headers_size: headers_size.into(),
            checksum_offset: start.saturating_add(64) as u64,
            certificates: certificates.map(|(entry, _, size)| (entry as u64, size.into())),
            relocations: relocations.map(|(_, address, size)| (address, size)),
        })
    }
}

fn parse_sections(
    head: &[u8],
    table: usize,
    count: u16,
    file_size: u64,
) -> Result<Vec<SectionHeader>, PeError> {
    if count == 0 || count > MAX_SECTIONS {
        return Err(PeError::SectionCount { actual: count });
    }
    let size = SECTION_HEADER_SIZE.saturating_mul(count.into());
    let table = slice(head, table, size).ok_or(PeError::Truncated {
        what: "section table",
        offset: table,
    })?;
    let mut sections = Vec::with_capacity(count.into());
    for section in table
        .chunks_exact(SECTION_HEADER_SIZE)
        .filter_map(SectionHeader::parse)
    {
        let start = u64::from(section.raw_offset);
        let end = start.saturating_add(section.raw_size.into());
        // Where a section without bytes in the file begins says nothing.
        if section.raw_size > 0 && end > file_size {
            let name = section.name();
            return Err(PeError::SectionOutside {
                name,
                start,
                end,
                file_size,
            });
        }
        sections.push(section);
    }
    let limit = MAX_SIZE.min(MAX_ZEROS.saturating_add(file_size));
    let actual = sections
        .iter()
        .map(|section| u64::from(section.virtual_size))
        .fold(0, u64::saturating_add);
    if actual > limit {
        return Err(PeError::MemorySize { actual, limit });
    }
    Ok(sections)
}

/// Checks that what is in memory is what is in the file: headers and sections are apart from each
/// other, and inside the image.
fn check_memory(
    sections: &[SectionHeader],
    headers_size: u32,
    size_of_image: u32,
) -> Result<(), PeError> {
    let mut ordered: Vec<_> = sections.iter().filter(|s| s.memory_size() > 0).collect();
    ordered.sort_by_key(|section| section.virtual_address);
    let mut other = "the headers".to_owned();
    let mut free = u64::from(headers_size);
    for section in ordered {
        let start = section.virtual_address;
        let (name, end) = (
            section.name(),
            u64::from(start).saturating_add(section.memory_size().into()),
        );
        if u64::from(start) < free {
            return Err(PeError::Overlap { name, start, other });
        }
        if end > size_of_image.into() {
            return Err(PeError::OutsideMemory {
                name,
                end,
                size_of_image,
            });
        }
        (other, free) = (name, end);
    }
    Ok(())
}
