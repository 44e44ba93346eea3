//! Every file of a file system with all that could make a difference: kind, mode, owner, time, extended
//! attributes, content.
//!
//! I/O: reads a directory and all below it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{lgetxattr, llistxattr};

use super::digest;

/// More than a file has.
const MAX_ATTRIBUTES: usize = 1 << 16;

/// All files by path; the root itself is `/`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing(BTreeMap<PathBuf, Entry>);

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Kind and permissions.
    mode: u32,
    owner: (u32, u32),
    /// Of the last change, Unix seconds.
    time: i64,
    attributes: Vec<(String, String)>,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Directory,
    File {
        size: u64,
        sha256: String,
    },
    Link(PathBuf),
    /// A device's number; 0 for pipes and sockets.
    Special(u64),
}

impl Listing {
    /// Lists everything in `root`.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let mut listing = BTreeMap::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(path) = waiting.pop() {
            let reading = || format!("read {}", path.display());
            let entry = Entry::read(&path).with_context(reading)?;
            if entry.content == Content::Directory {
                for below in fs::read_dir(&path).with_context(reading)? {
                    waiting.push(below.with_context(reading)?.path());
                }
            }
            let inside = path.strip_prefix(root).context("name a file")?;
            listing.insert(Path::new("/").join(inside), entry);
        }
        Ok(Self(listing))
    }

    /// The entry of a path.
    pub(super) fn of_path(&self, path: &Path) -> Option<&Entry> {
        self.0.get(path)
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is not the same in `after`, in words, in the order of paths.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = BTreeMap::new();
        for (path, old) in &self.0 {
            match after.0.get(path) {
                None => found.insert(path, format!("removed {}: {old}", path.display())),
                Some(new) if new != old => {
                    found.insert(path, format!("changed {}: {old} → {new}", path.display()))
                }
                Some(_) => None,
            };
        }
        for (path, new) in &after.0 {
            if !self.0.contains_key(path) {
                found.insert(path, format!("added {}: {new}", path.display()));
            }
        }
        found.into_values().collect()
    }
}

impl Entry {
    /// An ordinary file of an image: root's, readable by all.
    pub(super) fn file(content: &[u8], time: i64) -> Self {
        Self {
            mode: 0o100_644,
            owner: (0, 0),
            time,
            attributes: Vec::new(),
            content: Content::File {
                size: content.len() as u64,
                sha256: digest(content),
            },
        }
    }

    /// When it was last changed.
    pub(super) fn time(&self) -> i64 {
        self.time
    }

    fn read(path: &Path) -> Result<Self> {
        let about = fs::symlink_metadata(path)?;
        let kind = about.file_type();
        let content = match kind {
            kind if kind.is_dir() => Content::Directory,
            kind if kind.is_symlink() => Content::Link(fs::read_link(path)?),
            kind if kind.is_file() => Content::File {
                size: about.size(),
                sha256: digest(&fs::read(path)?),
            },
            kind if kind.is_char_device() || kind.is_block_device() => {
                Content::Special(about.rdev())
            }
            _ => Content::Special(0),
        };
        Ok(Self {
            mode: about.mode(),
            owner: (about.uid(), about.gid()),
            time: about.mtime(),
            attributes: attributes(path)?,
            content,
        })
    }
}

fn attributes(path: &Path) -> Result<Vec<(String, String)>> {
    let mut names = vec![0; MAX_ATTRIBUTES];
    let length = llistxattr(path, &mut names[..])?;
    let names = names.get(..length).unwrap_or_default();
    let names = names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    let mut attributes = Vec::new();
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; MAX_ATTRIBUTES];
        let length = lgetxattr(path, name, &mut value[..])?;
        let value = digest(value.get(..length).unwrap_or_default());
        attributes.push((name.to_string_lossy().into_owned(), value));
    }
    attributes.sort();
    Ok(attributes)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, group) = self.owner;
        write!(f, "{:o} {user}:{group} @{}", self.mode, self.time)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}={value}")?;
        }
        match &self.content {
            Content::Directory => write!(f, " directory"),
            Content::File { size, sha256 } => write!(f, " {size} bytes {sha256}"),
            Content::Link(to) => write!(f, " → {}", to.display()),
            Content::Special(device) => write!(f, " device {device}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        fs::write(root.path().join("folder/file"), b"x").unwrap();
        symlink("folder", root.path().join("link")).unwrap();
        root
    }

    /// What a change of a tree does to its listing; times aside, which are those of the test.
    fn differences(change: impl Fn(&Path)) -> Vec<String> {
        let timeless = |root: &Path| {
            let mut listing = Listing::of(root).unwrap();
            for entry in listing.0.values_mut() {
                entry.time = 0;
            }
            listing
        };
        let (before, after) = (tree(), tree());
        change(after.path());
        timeless(before.path()).differences(&timeless(after.path()))
    }

    #[test]
    fn equal_trees_have_no_differences() {
        assert_eq!(differences(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let found = differences(|root| fs::write(root.join("folder/more"), b"").unwrap());
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("added /folder/more: 100"), "{found:?}");
        let found = differences(|root| fs::write(root.join("folder/file"), b"y").unwrap());
        assert!(found[0].starts_with("changed /folder/file: "), "{found:?}");
        let found = differences(|root| fs::remove_file(root.join("link")).unwrap());
        assert!(found[0].starts_with("removed /link: "), "{found:?}");
        let found = differences(|root| {
            let mode = fs::Permissions::from_mode(0o4755);
            fs::set_permissions(root.join("folder/file"), mode).unwrap();
        });
        assert!(found[0].contains("104755"), "{found:?}");
    }
}
