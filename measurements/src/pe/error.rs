//! What can be wrong with a PE.
//!
//! I/O: none.

use super::{MAX_SECTIONS, MAX_SIZE};

/// Why bytes are not a PE whose measurements can be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The file is larger than any UKI.
    #[error("expected a PE of at most {MAX_SIZE} bytes, got {actual}")]
    TooLarge {
        /// The file's size in bytes.
        actual: u64,
    },
    /// The file ends before a header does.
    #[error("the PE ends before its {what}, expected at byte {offset}")]
    Truncated {
        /// Which header.
        what: &'static str,
        /// Where it should have been.
        offset: usize,
    },
    /// A magic number is wrong: this is something else.
    #[error("expected {what} to be {expected}, got {actual:#x}: not a PE")]
    Magic {
        /// Which magic number.
        what: &'static str,
        /// What it is in a PE.
        expected: &'static str,
        /// What it is here.
        actual: u32,
    },
    /// There are no sections, or more than a loader would take.
    #[error("expected 1 to {MAX_SECTIONS} sections, got {actual}")]
    SectionCount {
        /// NumberOfSections.
        actual: u16,
    },
    /// A section's bytes are not all in the file.
    #[error("section {name} is at bytes {start} to {end}, but the file has {file_size}")]
    SectionOutside {
        /// The section's name.
        name: String,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// The file's size.
        file_size: u64,
    },
    /// The sections take more memory than is sensible.
    #[error("the sections take {actual} bytes in memory, expected at most {limit}")]
    MemorySize {
        /// The sum of their VirtualSizes.
        actual: u64,
        /// What a file of this size may have.
        limit: u64,
    },
    /// A section is not inside the image in memory, so that no loader would take it.
    #[error("section {name} ends at {end:#x} in memory, but SizeOfImage is {size_of_image:#x}")]
    OutsideMemory {
        /// The section's name.
        name: String,
        /// The address after its last byte.
        end: u64,
        /// The image's size in memory.
        size_of_image: u32,
    },
    /// Two parts are at the same place in memory, so that the file does not say what is there.
    #[error("section {name} begins at {start:#x} in memory, inside of {other}")]
    Overlap {
        /// The section that begins later.
        name: String,
        /// Its VirtualAddress.
        start: u32,
        /// The section or headers that it lies in.
        other: String,
    },
    /// The section table is not in the headers, so that it is not in memory, or not measured as
    /// such.
    #[error(
        "the section table ends at byte {end}, expected it in the headers, which end at {limit}"
    )]
    SectionTable {
        /// The byte after its last.
        end: u64,
        /// SizeOfHeaders.
        limit: u64,
    },
    /// A loader would change bytes that are measured, or that say which bytes are.
    #[error("a relocation at {first:#x} in memory changes {name}, expected none there")]
    Relocation {
        /// What is changed.
        name: String,
        /// The address of the first byte that is changed.
        first: u64,
    },
    /// The relocations cannot be read.
    #[error("expected base relocations in the {size} bytes at {address:#x} in memory, got others")]
    RelocationTable {
        /// Where they should be.
        address: u32,
        /// How many bytes.
        size: u32,
    },
    /// Headers, sections and certificate table do not fit into the file, so its Authenticode
    /// digest is not defined.
    #[error("{what} is {actual} bytes, but the file has {file_size}")]
    Layout {
        /// Which part.
        what: &'static str,
        /// How long it claims to be.
        actual: u64,
        /// The file's size.
        file_size: u64,
    },
}
