//! Finds out what a machine starts from an image: a raw disk, a fixed VHD, or the bare `.efi`.
//!
//! What the file is, is told by its contents, never by its name. Only what is needed is read, and
//! nothing but headers and tables is held in memory.
//!
//! Left out: dynamic VHDs, backup partition tables, boot loaders other than systemd-boot.
//!
//! I/O: reads and seeks in the reader that it is given.

mod boot_chain;
mod crc32;
mod entries;
mod esp;
mod fat;
mod gpt;
mod vhd;
mod window;

use std::fmt;
use std::io::{Read, Seek};

pub(crate) use boot_chain::BootChain;
pub use boot_chain::{BootChainError, Loaded};
pub use fat::FatError;
pub(crate) use gpt::Gpt;
pub use gpt::{GptError, Guid, Partition};
pub use vhd::VhdError;

use crate::bytes::{array, index, u32_le};
use crate::pe_file::PeFileError;
use crate::source::{Content, ContentReader, ReadError, Source};
use crate::uki::{self, Uki};
use crate::{Digests, StubVersion, StubVersionError};
use window::Window;

/// Why it is not known what is started from an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The image could not be read.
    #[error("the image cannot be read")]
    Read(#[from] ReadError),
    /// It is a VHD that cannot be used.
    #[error("the image is a VHD, but not one that can be used")]
    Vhd(#[from] VhdError),
    /// Its partition table cannot be used.
    #[error("the image's partition table cannot be used")]
    Gpt(#[from] GptError),
    /// The file system of its EFI system partition cannot be used.
    #[error("the image's EFI system partition cannot be used")]
    Fat(#[from] FatError),
    /// A file that is started is not a PE that can be measured.
    #[error("{path} cannot be used")]
    Pe {
        /// The file's path in the partition; the image itself if it is no disk.
        path: String,
        /// What is wrong with it.
        source: PeFileError,
    },
    /// It is nothing that is known.
    #[error("expected a raw disk with a GPT, a fixed VHD or a PE (.efi), got something else")]
    UnknownFormat,
    /// It is both a disk and a PE: what is booted depends on who looks at it.
    #[error("the image is both a disk with a GPT and a PE (.efi), which no honest image is")]
    Ambiguous,
    /// What the firmware starts does not lead to one UKI.
    #[error(transparent)]
    BootChain(#[from] BootChainError),
}

/// What an image does not say about the boot, so that its user has to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assumptions {
    /// The file name in `EFI/Linux` of the UKI that systemd-boot is told to start; `None` for the
    /// one that it takes by itself.
    pub entry: Option<String>,
    /// Which profile of a UKI that has several is started. The stub takes 0 by itself.
    pub profile: u32,
    /// Whether Secure Boot is on. The stub then keeps the firmware from measuring the kernel.
    pub secure_boot: bool,
    /// The systemd-stub whose rules apply, for UKIs that do not say, or say a version that is not
    /// known here; what the UKI says is then not looked at.
    pub stub_version: Option<StubVersion>,
}

/// How an image wraps what is booted from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A disk with a partition table.
    RawDisk,
    /// A disk with the footer of a fixed VHD.
    FixedVhd,
    /// Nothing but the UKI.
    Efi,
}

/// An image, and what a machine starts from it.
///
/// The image need not be trusted. All sizes in it are checked before they are used, and what is
/// held in memory is bounded: partition table, FAT and PE headers, never a file's contents.
#[derive(Debug)]
pub struct Image<R> {
    pub(crate) source: Source<R>,
    pub(crate) assumptions: Assumptions,
    pub(crate) chain: BootChain,
    pub(crate) gpt: Option<Gpt>,
    format: Format,
}

/// A section of the UKI that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its name; what is not printable ASCII is escaped.
    pub name: String,
    /// How large it is in memory, in bytes: VirtualSize, which is what is measured.
    pub size: u64,
    content: Content,
}

impl<R: Read + Seek> Image<R> {
    /// Finds out what is started from `reader`: the file itself if it is a PE, else
    /// `EFI/BOOT/BOOTX64.EFI` of its EFI system partition and what that leads to.
    ///
    /// # Errors
    ///
    /// [`ImageError`] if the image is of another kind, is damaged, has no or several EFI system
    /// partitions, has files beside the UKI that change what is measured, or starts something
    /// that is neither systemd-stub nor systemd-boot.
    pub fn open(reader: R) -> Result<Self, ImageError> {
        Self::open_assuming(reader, Assumptions::default())
    }

    /// As [`Self::open`], with what the image does not say.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; and if there is no such entry.
    pub fn open_assuming(reader: R, assumptions: Assumptions) -> Result<Self, ImageError> {
        let mut source = Source::open(reader)?;
        let (format, size) = recognise(&mut source)?;
        let (chain, gpt) = if format == Format::Efi {
            let content = source.content();
            (BootChain::bare(&mut source, content)?, None)
        } else {
            let mut disk = Window::whole(&mut source).part(0, size)?;
            let gpt = gpt::read(&mut disk)?;
            let esp = gpt.esp()?;
            // A partition beyond the disk's end, or in a VHD's footer.
            disk.content(esp.start, esp.size)?;
            (BootChain::read(&mut source, esp, &assumptions)?, Some(gpt))
        };
        Ok(Self {
            source,
            assumptions,
            chain,
            gpt,
            format,
        })
    }

    /// How the image wraps what is booted.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is started, in this order: a boot loader if there is one, then the UKI.
    pub fn loaded(&self) -> Vec<&Loaded> {
        self.chain.loaded()
    }

    /// Which systemd-stub the UKI contains, whatever was assumed.
    ///
    /// # Errors
    ///
    /// [`StubVersionError`] if the section `.sdmagic` is missing or says something else. Versions
    /// whose rules are not known are returned all the same.
    pub fn stub_version(&self) -> Result<StubVersion, StubVersionError> {
        self.uki().stub_version()
    }

    /// The UKI's sections in the order of its section table, those of the stub's own code and data
    /// too.
    pub fn sections(&self) -> Vec<Section> {
        let sections = self.uki().file().sections().iter();
        let section = |header: &crate::pe::SectionHeader| Section {
            name: header.name(),
            size: header.virtual_size.into(),
            // Sections were found to be inside of the file when it was parsed.
            content: self.uki().content(header).unwrap_or_default(),
        };
        sections.map(section).collect()
    }

    /// Reads the first section of this name into memory, whatever profile it belongs to.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if there is none, it has more than `limit` bytes, or the reader fails.
    pub fn read_section(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ReadError> {
        let section = uki::find(self.uki().file().sections(), name);
        let missing = || ReadError::NoSection {
            name: name.to_owned(),
        };
        let content = self.uki().content(section.ok_or_else(missing)?)?;
        if content.size() > limit {
            return Err(ReadError::SectionSize {
                name: name.to_owned(),
                actual: content.size(),
                limit,
            });
        }
        self.source.read(&content)
    }

    /// Reads a section, as it is in memory, from its beginning to its end.
    pub fn section_reader(&mut self, section: &Section) -> impl Read + '_ {
        ContentReader::new(&mut self.source, section.content.clone())
    }

    /// Hashes a section as it is in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the reader fails.
    pub fn section_digests(&mut self, section: &Section) -> Result<Digests, ReadError> {
        self.source.digests(&section.content)
    }

    /// Reads the UKI from its beginning to its end.
    pub fn uki_reader(&mut self) -> impl Read + '_ {
        let content = self.uki().file().content().clone();
        ContentReader::new(&mut self.source, content)
    }

    /// The disk's partitions, in the order of their entries; none if the image is a bare UKI.
    pub fn partitions(&self) -> &[Partition] {
        self.gpt.as_ref().map_or(&[], |gpt| &gpt.partitions)
    }

    /// Reads a partition from its beginning to its end.
    pub fn partition_reader(&mut self, partition: &Partition) -> impl Read + '_ {
        let content = Content::stored(partition.start, partition.size);
        ContentReader::new(&mut self.source, content)
    }

    pub(crate) fn uki(&self) -> &Uki {
        &self.chain.uki
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RawDisk => "raw disk",
            Self::FixedVhd => "fixed VHD",
            Self::Efi => "UKI",
        })
    }
}

/// Tells by its contents what a file is, and how large the disk in it is.
fn recognise<R: Read + Seek>(source: &mut Source<R>) -> Result<(Format, u64), ImageError> {
    let mut file = Window::whole(source);
    let is_pe = is_pe(&mut file)?;
    if let Some(size) = vhd::disk_size(&mut file)? {
        return match is_pe {
            true => Err(ImageError::Ambiguous),
            false => Ok((Format::FixedVhd, size)),
        };
    }
    match (gpt::is_disk(&mut file)?, is_pe) {
        (true, true) => Err(ImageError::Ambiguous),
        (true, false) => Ok((Format::RawDisk, file.size())),
        (false, true) => Ok((Format::Efi, file.size())),
        (false, false) => Err(ImageError::UnknownFormat),
    }
}

/// Says whether the file begins as a PE does: a DOS header that leads to a PE signature.
fn is_pe<R: Read + Seek>(file: &mut Window<'_, R>) -> Result<bool, ReadError> {
    let header = file.read_up_to(0, 0x40)?;
    if array(&header, 0) != Some(*b"MZ") {
        return Ok(false);
    }
    let Some(offset) = u32_le(&header, 0x3c).map(index) else {
        return Ok(false);
    };
    let signature = file.read_up_to(offset as u64, 4)?;
    Ok(signature == b"PE\0\0")
}
