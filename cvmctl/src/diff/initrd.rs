//! Why two initrds differ: file by file, or in how the same files are written.
//!
//! I/O: none; unpacks what it is given.

use std::io::{self, Read};

use anyhow::Context;
use measurements::initrd_files::{Archive, Compression, Entry, Listing, Unreadable, list};
use serde::Serialize;

use super::{Kind, decompress};

/// What differs between two initrds whose bytes do.
#[derive(Debug, Serialize)]
pub(super) struct InitrdDifference {
    /// Files that differ, by path.
    pub(super) files: Vec<FileDifference>,
    /// What else there is to say: compression, order, entries that do not count.
    pub(super) remarks: Vec<String>,
    /// Whether both could be listed to their end.
    pub(super) is_complete: bool,
}

/// A file that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FileDifference {
    pub(super) path: String,
    pub(super) change: Kind,
    /// In which respects.
    pub(super) details: Vec<String>,
}

impl FileDifference {
    /// In one line.
    pub(super) fn line(&self) -> String {
        let Self { path, change, .. } = self;
        format!("{path} {change} ({})", self.details.join(", "))
    }
}

/// Compares two initrds.
pub(super) fn compare(a: impl Read, b: impl Read) -> anyhow::Result<InitrdDifference> {
    let unpack = |initrd: &mut dyn Read, which| -> anyhow::Result<Listing> {
        let listed: io::Result<_> = list(initrd, decompress::open);
        listed.with_context(|| format!("read the {which} initrd"))
    };
    let mut a = a;
    let mut b = b;
    Ok(difference(
        &unpack(&mut a, "first")?,
        &unpack(&mut b, "second")?,
    ))
}

fn difference(a: &Listing, b: &Listing) -> InitrdDifference {
    let files = file_differences(a, b);
    let mut remarks = Vec::new();
    for (which, listing) in [("first", a), ("second", b)] {
        remarks.extend(
            listing
                .unreadable
                .as_ref()
                .map(|rest| unreadable(which, rest)),
        );
    }
    let is_complete = remarks.is_empty();
    remarks.extend(replaced(a, b));
    if !is_complete {
        remarks.extend(unreadable_difference(a, b));
    } else if files.is_empty() {
        remarks.push(written_differently(a, b));
    }
    InitrdDifference {
        files,
        remarks,
        is_complete,
    }
}

fn file_differences(a: &Listing, b: &Listing) -> Vec<FileDifference> {
    let (a, b) = (a.files(), b.files());
    let paths: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let difference = |path: &&str| {
        let (change, details) = match (a.get(path), b.get(path)) {
            (Some(a), Some(b)) => (Kind::Changed, respects(a, b)),
            (Some(a), None) => (Kind::Removed, vec![describe(a)]),
            (None, Some(b)) => (Kind::Added, vec![describe(b)]),
            (None, None) => return None,
        };
        (!details.is_empty()).then(|| FileDifference {
            path: (*path).to_owned(),
            change,
            details,
        })
    };
    paths.into_iter().filter_map(difference).collect()
}

fn describe(entry: &Entry) -> String {
    match (&entry.target, entry.kind()) {
        (Some(target), kind) => format!("{kind} to {target}"),
        (None, "file") => format!("{} bytes", entry.size),
        (None, kind) => kind.to_owned(),
    }
}

/// In which respects two entries for one path differ; none if they are equal.
fn respects(a: &Entry, b: &Entry) -> Vec<String> {
    let mut respects = Vec::new();
    let mut push = |is_other: bool, text: String| {
        if is_other {
            respects.push(text);
        }
    };
    push(a.kind() != b.kind(), format!("{} → {}", a.kind(), b.kind()));
    match (&a.target, &b.target) {
        (Some(a), Some(b)) => push(a != b, format!("link to {a} → {b}")),
        _ if a.size != b.size => push(true, format!("{} → {} bytes", a.size, b.size)),
        _ => {
            let is_other = a.sha256 != b.sha256;
            push(is_other, format!("other contents, {} bytes", a.size));
        }
    }
    let permissions = |entry: &Entry| entry.mode & 0o7777;
    let (of_a, of_b) = (permissions(a), permissions(b));
    push(of_a != of_b, format!("mode {of_a:04o} → {of_b:04o}"));
    push(
        (a.uid, a.gid) != (b.uid, b.gid),
        format!("owner {}:{} → {}:{}", a.uid, a.gid, b.uid, b.gid),
    );
    push(
        a.device != b.device,
        format!(
            "device {}:{} → {}:{}",
            a.device.0, a.device.1, b.device.0, b.device.1
        ),
    );
    push(
        a.mtime != b.mtime,
        format!("time {} → {}", a.mtime, b.mtime),
    );
    respects
}

fn unreadable(which: &str, rest: &Unreadable) -> String {
    let Unreadable {
        offset,
        size,
        reason,
        ..
    } = rest;
    // With its causes.
    let reason = causes(reason);
    format!("{size} bytes of the {which} initrd, from byte {offset} on, cannot be listed: {reason}")
}

fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", causes(source)),
        None => error.to_string(),
    }
}

/// What the digests say where files cannot be listed.
fn unreadable_difference(a: &Listing, b: &Listing) -> Option<String> {
    match (&a.unreadable, &b.unreadable) {
        (Some(a), Some(b)) if a.sha256 == b.sha256 => {
            Some("what cannot be listed is the same in both".to_owned())
        }
        (Some(a), Some(b)) => Some(format!(
            "what cannot be listed differs: {} bytes with SHA-256 {} → {} bytes with SHA-256 {}",
            a.size, a.sha256, b.size, b.sha256
        )),
        _ => None,
    }
}

/// Entries that are replaced by later ones, if they are not the same in both.
fn replaced(a: &Listing, b: &Listing) -> Vec<String> {
    let lines = |listing: &Listing| -> Vec<String> {
        let line = |(old, new): (&Entry, &Entry)| {
            format!(
                "{} ({}, in archive {}), which a later entry in archive {} replaces",
                old.path,
                describe(old),
                old.archive + 1,
                new.archive + 1
            )
        };
        listing.replaced().into_iter().map(line).collect()
    };
    let (of_a, of_b) = (lines(a), lines(b));
    let only = |which: &str, lines: &[String], others: &[String]| -> Vec<String> {
        let missing = lines.iter().filter(|line| !others.contains(line));
        missing
            .map(|line| format!("only the {which} has {line}"))
            .collect()
    };
    // Quadratic in what an honest initrd has a handful of.
    if of_a.len().max(of_b.len()) > 1000 {
        return vec![format!(
            "entries that later ones replace: {} in the first, {} in the second",
            of_a.len(),
            of_b.len()
        )];
    }
    let mut remarks = only("first", &of_a, &of_b);
    remarks.extend(only("second", &of_b, &of_a));
    remarks
}

/// How the same files can be different bytes.
fn written_differently(a: &Listing, b: &Listing) -> String {
    let unpacked = |listing: &Listing| -> Vec<_> {
        let digest = |archive: &Archive| archive.unpacked_sha256;
        listing.archives.iter().map(digest).collect()
    };
    let order = |listing: &Listing| -> Vec<String> {
        listing.entries.iter().map(|e| e.path.clone()).collect()
    };
    let how = if unpacked(a) == unpacked(b) {
        let compressions = |listing: &Listing| -> String {
            let name = |archive: &Archive| match &archive.compression {
                Some(kind) => Compression::to_string(kind),
                None => "plain".to_owned(),
            };
            let names: Vec<_> = listing.archives.iter().map(name).collect();
            names.join(" + ")
        };
        let (of_a, of_b) = (compressions(a), compressions(b));
        if of_a == of_b {
            format!("only their compression ({of_a}, other settings) or padding differs")
        } else {
            format!("only their compression differs: {of_a} → {of_b}")
        }
    } else if order(a) == order(b) {
        "their archives differ in inode numbers, link counts, padding or in entries that do not \
         count"
            .to_owned()
    } else {
        "their archives have the entries in another order, or more than once".to_owned()
    };
    format!("the files are the same; {how}")
}
