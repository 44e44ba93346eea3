//! Finds the UKI in an image: a raw disk, a fixed VHD, or the bare `.efi`.
//!
//! What the file is, is told by its contents, never by its name. Only what is needed is read:
//! partition table, FAT metadata, and the UKI.
//!
//! Left out: dynamic VHDs, backup partition tables, boot loaders and their entries.
//!
//! I/O: reads and seeks in the reader that it is given.

mod crc32;
mod esp;
mod fat;
mod gpt;
mod vhd;
mod window;

use std::io::{Read, Seek};

pub use fat::FatError;
pub use gpt::GptError;
pub use vhd::VhdError;
pub use window::ReadError;

use crate::bytes::{array, index, u32_le};
use crate::{PeError, Uki};
use window::Window;

/// Why no UKI was found in an image.
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
    /// The file that firmware would start is not a PE.
    #[error("the image's UKI cannot be used")]
    Pe(#[from] PeError),
    /// It is nothing that is known.
    #[error("expected a raw disk with a GPT, a fixed VHD or a PE (.efi), got something else")]
    UnknownFormat,
    /// It is both a disk and a PE: what is booted depends on who looks at it.
    #[error("the image is both a disk with a GPT and a PE (.efi), which no honest image is")]
    Ambiguous,
    /// The partition holds files that the stub would add to what the UKI says.
    #[error(
        "the EFI system partition has {path:?}, which systemd-stub takes in addition to the UKI; \
         build an image without it"
    )]
    Sidecar {
        /// The file's path in the partition.
        path: String,
    },
}

/// Reads the UKI out of `image`: the file itself if it is a PE, else the file
/// `EFI/BOOT/BOOTX64.EFI` of its EFI system partition.
///
/// The image need not be trusted. All sizes in it are checked before they are used; at most
/// the UKI (1 GiB) and FAT metadata are held in memory.
///
/// # Errors
///
/// [`ImageError`] if the image is of another kind, is damaged, has no or several EFI system
/// partitions, or has files beside the UKI that change what is measured.
pub fn read_uki<R: Read + Seek>(mut image: R) -> Result<Uki, ImageError> {
    let mut file = Window::whole(&mut image)?;
    if let Some(size) = vhd::disk_size(&mut file)? {
        return read_from_disk(file.part(0, size)?);
    }
    match (gpt::is_disk(&mut file)?, is_pe(&mut file)?) {
        (true, true) => Err(ImageError::Ambiguous),
        (true, false) => read_from_disk(file),
        (false, true) => {
            let size = file.size();
            if size > crate::pe::MAX_SIZE {
                return Err(PeError::TooLarge { actual: size }.into());
            }
            Ok(Uki::parse(file.read(0, size)?)?)
        }
        (false, false) => Err(ImageError::UnknownFormat),
    }
}

fn read_from_disk<R: Read + Seek>(mut disk: Window<'_, R>) -> Result<Uki, ImageError> {
    let partition = gpt::find_esp(&mut disk)?;
    let esp = disk.part(partition.start, partition.size)?;
    Ok(Uki::parse(esp::read_uki(esp)?)?)
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
