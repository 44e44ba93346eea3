//! What an image says about itself.
//!
//! I/O: reads the image.

use std::io::{Read, Seek};

use measurements::Image;
use measurements::image::Section;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::sections;
use super::text::one_line;

/// An image in a few words.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    /// The file.
    pub(super) path: String,
    /// Raw disk, fixed VHD, or UKI.
    pub(super) format: String,
    /// The programs that are started, in order.
    pub(super) programs: Vec<String>,
    /// The version of Linux.
    pub(super) kernel: Option<String>,
    /// The hashes of verified partitions that the command line names: `roothash=`, `usrhash=`.
    pub(super) verity_hashes: Vec<VerityHash>,
    /// The digest of the UKI's file.
    pub(super) uki_sha256: String,
    #[serde(skip)]
    pub(super) command_line: String,
}

/// A hash that the kernel is given for a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct VerityHash {
    /// Which partition: `root` or `usr`.
    pub(super) partition: &'static str,
    /// In hexadecimal.
    pub(super) hash: String,
}

impl Facts {
    pub(super) fn read<R: Read + Seek>(path: String, image: &mut Image<R>) -> anyhow::Result<Self> {
        let programs = image.loaded();
        let programs = programs.iter().map(|loaded| loaded.program.clone());
        let programs = programs.collect();
        let command_line = match section(image, ".cmdline") {
            Some(section) => sections::text(image.section_reader(&section))?,
            None => String::new(),
        };
        let kernel = match section(image, ".linux") {
            Some(section) => kernel_version(image.section_reader(&section))?,
            None => None,
        };
        let kernel = match (kernel, section(image, ".uname")) {
            (None, Some(section)) => {
                Some(one_line(&sections::text(image.section_reader(&section))?))
            }
            (kernel, _) => kernel,
        };
        let mut hash = Sha256::new();
        std::io::copy(&mut image.uki_reader(), &mut hash)?;
        let digest: [u8; 32] = hash.finalize().into();
        let mut facts = Self {
            path,
            format: image.format().to_string(),
            programs,
            kernel,
            verity_hashes: Vec::new(),
            uki_sha256: measurements::Digest(digest).to_string(),
            command_line: String::new(),
        };
        facts.set_command_line(command_line);
        Ok(facts)
    }

    /// Takes note of the command line that the kernel really gets: of several profiles, one's.
    pub(super) fn set_command_line(&mut self, command_line: String) {
        self.verity_hashes = verity_hashes(&command_line);
        self.command_line = command_line;
    }

    /// The image in one line.
    pub(super) fn line(&self) -> String {
        let mut parts = vec![self.format.clone()];
        parts.extend(self.programs.iter().cloned());
        parts.extend(
            self.kernel
                .as_ref()
                .map(|version| format!("Linux {version}")),
        );
        format!("{}: {}", self.path, parts.join(", "))
    }

    /// The hash for this partition.
    pub(super) fn verity_hash(&self, partition: &str) -> Option<&VerityHash> {
        self.verity_hashes
            .iter()
            .find(|hash| hash.partition == partition)
    }
}

fn section<R: Read + Seek>(image: &Image<R>, name: &str) -> Option<Section> {
    let mut sections = image.sections().into_iter();
    sections.find(|section| section.name == name && section.size > 0)
}

/// The last of several counts, as for systemd-veritysetup-generator.
fn verity_hashes(command_line: &str) -> Vec<VerityHash> {
    let of = |option: &str, partition| {
        let mut words = command_line.split_whitespace().rev();
        let hash = words.find_map(|word| word.strip_prefix(option))?;
        Some(VerityHash {
            partition,
            hash: one_line(&hash.to_lowercase()),
        })
    };
    [of("roothash=", "root"), of("usrhash=", "usr")]
        .into_iter()
        .flatten()
        .collect()
}

/// Reads the version out of a kernel: Linux `Documentation/arch/x86/boot.rst`, "kernel_version".
/// `None` if this is something else.
pub(super) fn kernel_version(kernel: impl Read) -> std::io::Result<Option<String>> {
    /// Where the real-mode header is, and how far its strings may be.
    const MAGIC: usize = 0x202;
    const POINTER: usize = 0x20e;
    const SETUP_SIZE: u64 = 64 << 10;
    let mut setup = Vec::new();
    kernel.take(SETUP_SIZE).read_to_end(&mut setup)?;
    let version = || {
        let (_, header) = setup.split_at_checked(MAGIC)?;
        header.strip_prefix(b"HdrS")?;
        let pointer = setup.get(POINTER..POINTER + 2)?.try_into().ok()?;
        let start = usize::from(u16::from_le_bytes(pointer)) + 0x200;
        let text = setup.get(start..)?.split(|byte| *byte == 0).next()?;
        // The release is the first word; who built it, and when, follows.
        let text = str::from_utf8(text).ok()?.split(' ').next()?;
        (!text.is_empty() && text.len() < 100).then(|| one_line(text))
    };
    Ok(version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_out_of_the_kernel() {
        let mut kernel = vec![0; 0x1000];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20e..0x210].copy_from_slice(&0x300u16.to_le_bytes());
        kernel[0x500..0x517].copy_from_slice(b"6.12.57+deb13 (builder)");
        let version = |kernel: &[u8]| kernel_version(kernel).unwrap();
        assert_eq!(version(&kernel).as_deref(), Some("6.12.57+deb13"));
        assert_eq!(version(&kernel[..0x300]), None);
        assert_eq!(version(b"MZ"), None);
        kernel[0x20e..0x210].fill(0xff);
        assert_eq!(version(&kernel), None);
    }

    #[test]
    fn last_hash_counts() {
        let hash = |partition, hash: &str| VerityHash {
            partition,
            hash: hash.to_owned(),
        };
        assert_eq!(
            verity_hashes("roothash=11 quiet usrhash=AB roothash=22"),
            [hash("root", "22"), hash("usr", "ab")]
        );
        assert!(verity_hashes("xroothash=11").is_empty());
    }
}
