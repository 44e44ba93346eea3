//! Finds files in a FAT12, FAT16 or FAT32 file system.
//!
//! Follows Microsoft's "FAT: General Overview of On-Disk Format" 1.03; names in comments are that
//! document's. Every cluster chain is bounded by the size that it must have, so that loops end.
//!
//! Left out: writing, the second FAT, FSInfo.
//!
//! I/O: reads the boot sector, the FAT and directories; a file's contents are for the caller to read.

mod directory;
mod layout;
mod table;

use std::io::{Read, Seek};

use directory::{Entry, Kind};
pub(super) use layout::is_boot_sector;
use layout::{Layout, RootDirectory};
use table::Table;

use super::window::Window;
use crate::source::{Content, ReadError};

/// Most pieces that a file may be in: 1 GiB in clusters of 4 KiB, none beside another.
const MAX_PIECES: usize = 1 << 18;

/// Largest directory that is read: 65,536 entries of 32 bytes, the specification's limit.
const MAX_DIRECTORY_SIZE: u64 = 2 << 20;

/// Why a file cannot be read from a FAT file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FatError {
    /// The image could not be read.
    #[error("the file system cannot be read")]
    Read(#[from] ReadError),
    /// A number in the boot sector is not one of a FAT file system.
    #[error("expected {what} to be {expected}, got {actual}: not a FAT file system")]
    Field {
        /// The number's name.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: u64,
    },
    /// There is no such file or directory.
    #[error("expected the file {path}, but there is no {missing} in it")]
    NotFound {
        /// The file that was looked for.
        path: String,
        /// The part of its path that is not there.
        missing: String,
    },
    /// There are several files or directories of this name: which one is read depends on the reader.
    #[error("{path} is ambiguous: there are {count} entries named {name}, expected 1")]
    DuplicateName {
        /// The file or directory that was looked for.
        path: String,
        /// The part of its path that is there more than once.
        name: String,
        /// How often, counting both long and short names.
        count: usize,
    },
    /// It is a directory where a file is expected, or the other way round.
    #[error("expected {path} to be a {expected}")]
    WrongKind {
        /// What is of the wrong kind.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The file is larger than is sensible.
    #[error("{path} has {actual} bytes, expected at most {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        actual: u64,
        /// Most that is read.
        limit: u64,
    },
    /// The file is in more pieces than is sensible to keep in mind.
    #[error("{path} lies in more than {MAX_PIECES} pieces; make the file system anew")]
    Fragmented {
        /// The file.
        path: String,
    },
    /// A file's clusters end before its size is reached.
    #[error("cluster {cluster} is followed by {next:#x}, expected one of the clusters 2 to {last}")]
    Chain {
        /// Where the chain breaks.
        cluster: u32,
        /// What the FAT says is next: an end mark, a free, bad or absent cluster.
        next: u32,
        /// The last cluster.
        last: u32,
    },
    /// A directory does not end.
    #[error("a directory is longer than {MAX_DIRECTORY_SIZE} bytes, or its clusters form a loop")]
    EndlessDirectory,
}

/// A FAT file system.
pub(super) struct Fat<'r, R> {
    volume: Window<'r, R>,
    layout: Layout,
    table: Table,
}

impl<'r, R: Read + Seek> Fat<'r, R> {
    /// Reads the boot sector and the first FAT.
    pub(super) fn open(mut volume: Window<'r, R>) -> Result<Self, FatError> {
        let layout = Layout::parse(&volume.read(0, 512)?, volume.size())?;
        let bytes = volume.read(layout.table_start, layout.table_size)?;
        let table = Table::new(layout.kind, bytes, layout.clusters);
        Ok(Self {
            volume,
            layout,
            table,
        })
    }

    /// Finds out where the file at `path` lies, whose names are compared without regard to case.
    pub(super) fn locate_file(&mut self, path: &[&str], limit: u64) -> Result<Content, FatError> {
        let full = || path.join("/");
        match self.find(path)? {
            Ok(Entry {
                kind: Kind::File { size },
                first_cluster,
                ..
            }) => {
                let size = u64::from(size);
                if size > limit {
                    return Err(FatError::TooLarge {
                        path: full(),
                        actual: size,
                        limit,
                    });
                }
                self.locate_chain(first_cluster, size)?
                    .ok_or_else(|| FatError::Fragmented { path: full() })
            }
            Ok(_) => Err(FatError::WrongKind {
                path: full(),
                expected: "file",
            }),
            Err(missing) => Err(FatError::NotFound {
                path: full(),
                missing,
            }),
        }
    }

    /// Says whether there is a file at `path`.
    pub(super) fn has_file(&mut self, path: &[&str]) -> Result<bool, FatError> {
        let found = self.find(path)?;
        Ok(found.is_ok_and(|entry| entry.kind != Kind::Directory))
    }

    /// The names of the files in the directory at `path`, long and short ones; none if there is no
    /// such directory.
    pub(super) fn list(&mut self, path: &[&str]) -> Result<Vec<String>, FatError> {
        let names = self.files(path)?.into_iter();
        Ok(names
            .flat_map(|entry| entry.long_name.into_iter().chain([entry.short_name]))
            .collect())
    }

    /// The names of the files in the directory at `path` as firmware tells them: the long name where
    /// there is one.
    pub(super) fn file_names(&mut self, path: &[&str]) -> Result<Vec<String>, FatError> {
        let names = self.files(path)?.into_iter();
        Ok(names
            .map(|entry| entry.long_name.unwrap_or(entry.short_name))
            .collect())
    }

    /// The names of the directories in the directory at `path`, long and short ones.
    pub(super) fn directory_names(&mut self, path: &[&str]) -> Result<Vec<String>, FatError> {
        let entries = self.entries(path)?.into_iter();
        let directories = entries.filter(|entry| entry.kind == Kind::Directory);
        Ok(directories
            .flat_map(|entry| entry.long_name.into_iter().chain([entry.short_name]))
            .collect())
    }

    fn files(&mut self, path: &[&str]) -> Result<Vec<Entry>, FatError> {
        let mut entries = self.entries(path)?;
        entries.retain(|entry| entry.kind != Kind::Directory);
        Ok(entries)
    }

    fn entries(&mut self, path: &[&str]) -> Result<Vec<Entry>, FatError> {
        let Ok(Entry {
            kind: Kind::Directory,
            first_cluster,
            ..
        }) = self.find(path)?
        else {
            return Ok(Vec::new());
        };
        self.read_directory(Some(first_cluster))
    }

    /// Walks down `path`. The inner error is the first part of it that is not there.
    fn find(&mut self, path: &[&str]) -> Result<Result<Entry, String>, FatError> {
        let mut directory = None;
        let mut found = None;
        for name in path {
            if found.is_some() && directory.is_none() {
                let expected = "directory";
                return Err(FatError::WrongKind {
                    path: path.join("/"),
                    expected,
                });
            }
            let mut entries = self.read_directory(directory)?;
            entries.retain(|entry| entry.is_named(name));
            let count = entries.len();
            let Some(entry) = entries.pop() else {
                return Ok(Err((*name).to_owned()));
            };
            if count > 1 {
                let (path, name) = (path.join("/"), (*name).to_owned());
                return Err(FatError::DuplicateName { path, name, count });
            }
            directory = (entry.kind == Kind::Directory).then_some(entry.first_cluster);
            found = Some(entry);
        }
        Ok(found.ok_or_else(String::new))
    }

    /// Reads the entries of the directory whose first cluster this is; the root's if there is none.
    fn read_directory(&mut self, first_cluster: Option<u32>) -> Result<Vec<Entry>, FatError> {
        // ".." of a directory in the root has cluster 0; it is never followed.
        let bytes = match (first_cluster, self.layout.root) {
            (Some(cluster), _) | (None, RootDirectory::Cluster(cluster)) => {
                self.read_directory_chain(cluster)?
            }
            (None, RootDirectory::Fixed { start, size }) => self.volume.read(start, size)?,
        };
        Ok(directory::parse(&bytes))
    }

    fn read_directory_chain(&mut self, first: u32) -> Result<Vec<u8>, FatError> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        while (bytes.len() as u64) < MAX_DIRECTORY_SIZE {
            let start = self
                .layout
                .cluster_start(cluster)
                .ok_or_else(|| self.broken(first, cluster))?;
            bytes.append(&mut self.volume.read(start, self.layout.cluster_size)?);
            let next = self.table.next(cluster);
            if self.table.is_end(next) {
                return Ok(bytes);
            }
            cluster = next;
        }
        Err(FatError::EndlessDirectory)
    }

    /// Finds `size` bytes in the chain that begins with `first`; `None` if they lie in too many
    /// pieces.
    fn locate_chain(&mut self, first: u32, size: u64) -> Result<Option<Content>, FatError> {
        let mut content = Content::default();
        if size > self.layout.data_size() {
            let last = self.layout.last_cluster();
            return Err(FatError::Chain {
                cluster: first,
                next: first,
                last,
            });
        }
        let mut previous = first;
        let mut cluster = first;
        while content.size() < size {
            let start = self.layout.cluster_start(cluster);
            let start = start.ok_or_else(|| self.broken(previous, cluster))?;
            let left = size.saturating_sub(content.size());
            let run = self.layout.cluster_size.min(left);
            content.append(&self.volume.content(start, run)?);
            if content.piece_count() > MAX_PIECES {
                return Ok(None);
            }
            (previous, cluster) = (cluster, self.table.next(cluster));
        }
        Ok(Some(content))
    }

    fn broken(&self, cluster: u32, next: u32) -> FatError {
        FatError::Chain {
            cluster,
            next,
            last: self.layout.last_cluster(),
        }
    }
}
