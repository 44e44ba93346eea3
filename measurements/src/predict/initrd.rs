//! The initrd that the kernel receives: sections of the UKI and archives that the stub makes.
//!
//! Mirrors systemd v257 `src/boot/stub.c`: the order of `enum { INITRD_UCODE, … }`,
//! `lookup_embedded_initrds`, `generate_embedded_initrds`, and `combine_initrds` (each part padded
//! with zeros to four bytes); `src/boot/cpio.c` for the archives, the same since 252.
//!
//! Left out: credentials and extensions beside the UKI. [`crate::Image::open`] refuses images
//! that have them.
//!
//! I/O: reads sections.

use std::fmt;
use std::io::{Read, Seek};

use super::{Boot, PredictError};
use crate::Digests;
use crate::digest::Hasher;
use crate::source::{Content, Source};

/// The parts of an initrd, in order.
pub(crate) struct Initrd {
    parts: Vec<(String, Part)>,
}

enum Part {
    Section(Content),
    Archive(Vec<u8>),
}

impl Initrd {
    /// Puts together what this version of the stub does.
    pub(crate) fn assemble<R: Read + Seek>(
        source: &mut Source<R>,
        boot: &Boot,
    ) -> Result<Self, PredictError> {
        let rules = boot.rules.initrd;
        let mut parts = Vec::new();
        let embedded = if rules.has_microcode {
            &[".ucode", ".initrd"][..]
        } else {
            &[".initrd"]
        };
        for name in embedded {
            let content = boot.sections.find(name).cloned();
            parts.extend(content.map(|content| ((*name).to_owned(), Part::Section(content))));
        }
        for (section, file) in rules.wrapped {
            if let Some(content) = boot.sections.find(section) {
                let archive = archive_of(file, &source.read(content)?);
                let name = format!("/.extra/{file} from {section}");
                parts.push((name, Part::Archive(archive)));
            }
        }
        Ok(Self { parts })
    }

    /// Its digests; `None` if there is no part.
    pub(crate) fn digests<R: Read + Seek>(
        &self,
        source: &mut Source<R>,
    ) -> Result<Option<Digests>, PredictError> {
        // A single part is handed on as it is, without padding.
        let is_combined = self.parts.len() > 1;
        let mut hasher = Hasher::default();
        for (_, part) in &self.parts {
            match part {
                Part::Section(content) => {
                    source.stream(content, |chunk| hasher.update(chunk))?;
                }
                Part::Archive(archive) => hasher.update(archive),
            }
            if is_combined {
                hasher.update(padding(part.size()));
            }
        }
        Ok((!self.parts.is_empty()).then(|| hasher.finish()))
    }
}

impl fmt::Display for Initrd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, part)) in self.parts.iter().enumerate() {
            let separator = if position == 0 { "" } else { " + " };
            write!(f, "{separator}{name} ({} bytes)", part.size())?;
        }
        Ok(())
    }
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Section(content) => content.size(),
            Self::Archive(archive) => archive.len() as u64,
        }
    }
}

/// The zeros that bring `size` bytes to a multiple of four.
fn padding(size: u64) -> &'static [u8] {
    match size % 4 {
        1 => &[0; 3],
        2 => &[0; 2],
        3 => &[0; 1],
        _ => &[],
    }
}

/// Mode of the directory `/.extra` and of the files in it: `generate_embedded_initrds`.
const DIRECTORY_MODE: u32 = 0o040_555;
const FILE_MODE: u32 = 0o100_444;

/// Makes the cpio archive that holds `/.extra/NAME` and nothing else, byte for byte as
/// `pack_cpio_literal` does.
fn archive_of(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(contents.len().saturating_add(512));
    append_entry(&mut archive, 1, DIRECTORY_MODE, ".extra", &[]);
    append_entry(
        &mut archive,
        2,
        FILE_MODE,
        &format!(".extra/{name}"),
        contents,
    );
    archive.extend_from_slice(TRAILER);
    archive
}

/// `pack_cpio_trailer`: a literal there, whose name length is the one upper-case number.
const TRAILER: &[u8] = b"070701\
    00000000000000000000000000000000000000010000000000000000\
    000000000000000000000000000000000000000B00000000\
    TRAILER!!!\0\0\0\0";

/// `pack_cpio_one`, `pack_cpio_dir`: the "newc" format, numbers as eight lower-case hex digits.
fn append_entry(archive: &mut Vec<u8>, inode: u32, mode: u32, path: &str, contents: &[u8]) {
    let name_size = path.len().saturating_add(1);
    // inode mode uid gid links mtime size, device and special device (major, minor), name, check
    let links = 1;
    let size = contents.len();
    archive.extend_from_slice(
        format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}\
             {0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0
        )
        .as_bytes(),
    );
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    archive.extend_from_slice(padding(archive.len() as u64));
    archive.extend_from_slice(contents);
    archive.extend_from_slice(padding(archive.len() as u64));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_has_the_layout_that_the_stub_makes() {
        let archive = archive_of("os-release", b"ID=x\n");
        let text = String::from_utf8(archive.clone()).unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert!(text.starts_with("07070100000001000041 6d".replace(' ', "").as_str()));
        assert!(text.contains(".extra/os-release\0"));
        assert!(text.ends_with("0000000B00000000TRAILER!!!\0\0\0\0"));
        // Header 110 + ".extra\0" padded, header 110 + name 18 + contents 5 padded, trailer 124.
        assert_eq!(archive.len(), 120 + 128 + 8 + 124);
    }
}
