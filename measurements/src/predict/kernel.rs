//! The kernel in a UKI: is it one whose own measurements are known?
//!
//! Mirrors Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header".
//!
//! I/O: reads the kernel's first bytes.

use std::io::{Read, Seek};

use super::PredictError;
use super::stub_rules::{KernelStart, StubRules};
use crate::bytes::{slice, u16_le};
use crate::pe::{MAX_HEAD_SIZE, Pe};
use crate::source::{Content, Source};

/// The oldest whose measurements were seen, of LoadOptions and of the initrd: 6.1 and 6.12 were
/// booted. Up to 6.0 LoadOptions are not measured.
const OLDEST: (u32, u32) = (6, 1);
const OLDEST_TEXT: &str = "6.1";

/// Longest text of the image that is shown.
const MAX_TEXT_SIZE: usize = 64;

/// Which Linux a kernel says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linux {
    /// The first two numbers of its version.
    pub(crate) version: (u32, u32),
    /// All that it says, for people: escaped, and cut off.
    pub(crate) text: String,
}

/// Checks the kernel's version, and returns it if the kernel says one.
///
/// # Errors
///
/// [`PredictError::Kernel`] if it is too old, or systemd-stub would start it in another way.
pub(super) fn check<R: Read + Seek>(
    source: &mut Source<R>,
    content: Content,
    rules: &StubRules,
) -> Result<Option<Linux>, PredictError> {
    let head = source.read_head(&content, MAX_HEAD_SIZE)?;
    let refused = |actual: String| PredictError::Kernel {
        actual,
        oldest: OLDEST_TEXT,
    };
    let pe = Pe::parse(&head, content.size()).map_err(|source| PredictError::Authenticode {
        what: "the kernel in section .linux",
        source: source.into(),
    })?;
    // systemd v257 src/boot/pe.c, pe_kernel_info(): without it the stub takes another way.
    if rules.kernel != KernelStart::Handover && pe.major_image_version == 0 {
        return Err(refused(
            "one without LoadFile2 (MajorImageVersion 0)".to_owned(),
        ));
    }
    match version(&head) {
        Some(linux) if linux.version < OLDEST => Err(refused(format!("Linux {}", linux.text))),
        linux => Ok(linux),
    }
}

/// Returns the version that a bzImage says in its header: `6.12.48+deb13-amd64 (…)`.
pub(crate) fn version(head: &[u8]) -> Option<Linux> {
    if slice(head, 0x202, 4)? != b"HdrS" {
        return None;
    }
    // kernel_version: an offset, less 0x200.
    let offset = usize::from(u16_le(head, 0x20e)?).checked_add(0x200)?;
    let text = head.get(offset..)?.split(|byte| *byte == 0).next()?;
    let shown = text.escape_ascii().take(MAX_TEXT_SIZE).map(char::from);
    let text: String = shown.collect();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    let version = (major, minor);
    Some(Linux { version, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_header() {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        head[0x300..0x30d].copy_from_slice(b"5.10.0-9 (x)\0");
        let linux = |version, text: &str| {
            let text = text.to_owned();
            Some(Linux { version, text })
        };
        assert_eq!(version(&head), linux((5, 10), "5.10.0-9 (x)"));
        // What is shown is short and printable, whatever is there.
        head[0x305..0x380].fill(0x1b);
        let text = format!("5.10.{}", "\\x1b".repeat(14) + "\\x1");
        assert_eq!(version(&head), linux((5, 10), &text[..64]));
        head[0x202] = 0;
        assert_eq!(version(&head), None);
    }
}
