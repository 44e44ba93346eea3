//! What an attacking host can change: the disk, the firmware's variables, what it offers beside.
//!
//! Everything is made on copies. The tools are those that an administrator would use: mtools,
//! sgdisk, ukify, mkfs.erofs, virt-fw-vars.
//!
//! I/O: reads images, writes files where it is told to, runs the tools.

pub mod credential;
pub mod disk;
pub mod esp;
pub mod gpt;
pub mod variable;

use std::io;

use crate::child::ToolError;

/// Why something could not be tampered with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TamperError {
    /// A file failed.
    #[error("write the tampered file")]
    Io(#[from] io::Error),

    /// A tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),

    /// The image has no partition of this type.
    #[error("no partition of type {0}")]
    NoPartition(&'static str),

    /// The image does not have what was to be changed.
    #[error("nothing to change: {0}")]
    NothingThere(&'static str),
}
