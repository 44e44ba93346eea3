//! What was found in an initrd.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::io;

use super::{Compression, Entry};
use crate::Sha256Digest;

/// Everything that is in an initrd.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its archives, in order.
    pub archives: Vec<Archive>,
    /// The entries of all archives, in the order in which they are unpacked. A path may occur more
    /// than once: see [`Listing::files`].
    pub entries: Vec<Entry>,
    /// The rest, if not all of it could be listed.
    pub unreadable: Option<Unreadable>,
}

/// An archive: one that is plain, or all that one compressed stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it begins in the initrd.
    pub offset: u64,
    /// Its size in the initrd, without the zeros behind it.
    pub size: u64,
    /// The digest of these bytes.
    pub sha256: Sha256Digest,
    /// How it is compressed, if it is.
    pub compression: Option<Compression>,
    /// Its size when unpacked.
    pub unpacked_size: u64,
    /// The digest of what is unpacked, which does not depend on how it was compressed.
    pub unpacked_sha256: Sha256Digest,
}

/// The end of an initrd, from an archive on that cannot be listed.
#[derive(Debug)]
pub struct Unreadable {
    /// Where that archive begins.
    pub offset: u64,
    /// Bytes from there to the end of the initrd.
    pub size: u64,
    /// The digest of these bytes.
    pub sha256: Sha256Digest,
    /// What is wrong with them. Entries that came before are in the list.
    pub reason: ArchiveError,
}

/// Why an archive cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Neither a cpio archive nor a known compression.
    #[error(
        "expected a cpio archive (070701 or 070702) or compressed data at byte {offset}, got {actual}"
    )]
    NotAnArchive {
        /// Where.
        offset: u64,
        /// The bytes there, in hexadecimal.
        actual: String,
    },
    /// A field of an entry's header says what it must not.
    #[error("expected {field} to be {expected} in the entry at byte {offset}, got {actual}")]
    Field {
        /// Where the entry begins.
        offset: u64,
        /// The field's name.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: String,
    },
    /// The archive ends in the middle of an entry.
    #[error("expected {missing} more bytes of {what} at byte {offset}, got the end")]
    Truncated {
        /// Where the end is.
        offset: u64,
        /// Of what there should be more.
        what: &'static str,
        /// How many bytes are missing.
        missing: u64,
    },
    /// The contents of a file do not have its checksum.
    #[error("expected the bytes of {path} to sum up to {expected:#010x}, got {actual:#010x}")]
    Checksum {
        /// The file.
        path: String,
        /// As its header says.
        expected: u32,
        /// As computed.
        actual: u32,
    },
    /// There is more than an honest initrd has.
    #[error("expected at most {limit} {what}, got more")]
    TooMuch {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// The caller has no decoder for it.
    #[error("{compression} data of this kind cannot be unpacked here")]
    Unsupported {
        /// What kind of data.
        compression: Compression,
        /// What the caller said.
        source: io::Error,
    },
    /// The decoder failed.
    #[error("the {compression} data is damaged")]
    Damaged {
        /// What kind of data.
        compression: Compression,
        /// What the decoder said.
        source: io::Error,
    },
    /// What is unpacked could not be read.
    #[error("the archive cannot be read")]
    Read(#[from] io::Error),
}

impl Listing {
    /// The files that there are after all archives were unpacked, by path: of several entries with
    /// the same path the last one.
    pub fn files(&self) -> BTreeMap<&str, &Entry> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.path.as_str(), entry)).collect()
    }

    /// Entries that a later one takes the place of, each with the last one. A directory that is
    /// given again as a directory is not among them.
    pub fn replaced(&self) -> Vec<(&Entry, &Entry)> {
        let files = self.files();
        let mut replaced = Vec::new();
        for entry in &self.entries {
            if let Some(last) = files.get(entry.path.as_str()) {
                let is_last = std::ptr::eq(entry, *last);
                let stays = entry.is_directory() && last.is_directory();
                if !is_last && !stays {
                    replaced.push((entry, *last));
                }
            }
        }
        replaced
    }
}
