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

/// The first that measures both what it is given as LoadOptions and the initrd that it loads:
/// commit "efi/libstub: measure EFI LoadOptions".
const OLDEST: (u32, u32) = (5, 17);
const OLDEST_TEXT: &str = "5.17";

/// Checks the kernel's version as far as it says one; kernels that are not Linux say none.
///
/// # Errors
///
/// [`PredictError::Kernel`] if it is too old, or systemd-stub would start it in another way.
pub(super) fn check<R: Read + Seek>(
    source: &mut Source<R>,
    content: Content,
    rules: &StubRules,
) -> Result<(), PredictError> {
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
    if rules.kernel == KernelStart::Firmware && pe.major_image_version == 0 {
        return Err(refused(
            "one without LoadFile2 (MajorImageVersion 0)".to_owned(),
        ));
    }
    match version(&head) {
        Some((version, text)) if version < OLDEST => Err(refused(format!("Linux {text}"))),
        Some(_) | None => Ok(()),
    }
}

/// Returns the version that a bzImage says in its header: `6.12.48+deb13-amd64 (…)`.
fn version(head: &[u8]) -> Option<((u32, u32), String)> {
    if slice(head, 0x202, 4)? != b"HdrS" {
        return None;
    }
    // kernel_version: an offset, less 0x200.
    let offset = usize::from(u16_le(head, 0x20e)?).checked_add(0x200)?;
    let text = head.get(offset..)?.split(|byte| *byte == 0).next()?;
    let text = text.get(..text.len().min(64))?;
    let text = text.escape_ascii().to_string();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(((major, minor), text))
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
        assert_eq!(version(&head), Some(((5, 10), "5.10.0-9 (x)".to_owned())));
        head[0x202] = 0;
        assert_eq!(version(&head), None);
    }
}
