//! Makes small images of other boot chains than ours: UKIs, and disks that boot them.
//!
//! I/O: runs ukify, sgdisk, mkfs.vfat and mtools on files where it is told to.

pub mod disk;
mod pe;
pub mod uki;

use std::io;

use crate::child::ToolError;
use crate::tamper::TamperError;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A file failed.
    #[error("write the image")]
    Io(#[from] io::Error),

    /// A tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),

    /// The files could not be put on the disk.
    #[error("fill the EFI System Partition")]
    Fill(#[from] TamperError),

    /// What ukify made is not as it was to be changed.
    #[error("change the UKI: {0}")]
    Uki(&'static str),
}
