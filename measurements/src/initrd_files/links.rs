//! Hard links: entries with the same inode number and device are one file.
//!
//! Mirrors Linux v6.12 `init/initramfs.c`, `maybe_link` and `do_name`: within an archive (up to its
//! trailer), a regular file with more than one link shares its contents with those before it; an
//! entry with contents gives them to all, one without takes what the others have.
//!
//! I/O: none.

use std::collections::HashMap;

use super::Entry;
use crate::Sha256Digest;

/// Inode number and device, as in the entry's header.
pub(super) type Inode = [u32; 3];

/// The files of an archive that have several names.
#[derive(Default)]
pub(super) struct HardLinks(HashMap<Inode, File>);

struct File {
    names: Vec<usize>,
    contents: Option<(u64, Sha256Digest)>,
}

impl HardLinks {
    /// Notes that the entry at `position` in the list is a name of this inode.
    pub(super) fn add(&mut self, inode: Inode, position: usize, entry: &Entry) {
        let file = self.0.entry(inode).or_insert_with(|| File {
            names: Vec::new(),
            contents: None,
        });
        file.names.push(position);
        if entry.size > 0 {
            file.contents = Some((entry.size, entry.sha256));
        }
    }

    /// At the end of an archive: gives all names of a file its contents.
    pub(super) fn resolve(&mut self, entries: &mut [Entry]) {
        for file in std::mem::take(&mut self.0).into_values() {
            for position in &file.names {
                if let (Some(entry), Some((size, sha256))) =
                    (entries.get_mut(*position), file.contents)
                {
                    entry.size = size;
                    entry.sha256 = sha256;
                }
            }
        }
    }
}
