//! The data disk's image, as it can be seen from outside without a key.
//!
//! What is inside of the encryption only the guest can say; that it was not made anew shows in the header:
//! a new one has another UUID (LUKS2 On-Disk Format Specification, 2.1).
//!
//! I/O: reads the image.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Both headers' magic, and where the second one is with metadata of the usual size.
const PRIMARY: &[u8] = b"LUKS\xba\xbe";
const SECONDARY: &[u8] = b"SKUL\xba\xbe";
const SECOND_AT: u64 = 0x4000;
/// Where the UUID is in a header, and its bytes.
const UUID_AT: usize = 168;
const UUID: usize = 40;
/// Bytes of a binary header.
const HEADER: usize = 4096;

/// What is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// Neither header: nothing that a node has written.
    Blank,
    /// A LUKS2 header, or both, with this UUID.
    Luks(String),
}

impl Disk {
    /// Looks.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its two headers are of different disks.
    pub(super) fn read(image: &Path) -> Result<Self> {
        let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
        let header = |at: u64, magic: &[u8]| -> Result<Option<String>> {
            let mut bytes = vec![0; HEADER];
            file.read_exact_at(&mut bytes, at)
                .context("read the disk")?;
            if !bytes.starts_with(magic) {
                return Ok(None);
            }
            let uuid = bytes.get(UUID_AT..UUID_AT + UUID).unwrap_or_default();
            let text = String::from_utf8_lossy(uuid);
            Ok(Some(text.trim_end_matches('\0').to_owned()))
        };
        match (header(0, PRIMARY)?, header(SECOND_AT, SECONDARY)?) {
            (None, None) => Ok(Self::Blank),
            (Some(one), Some(other)) if one != other => {
                bail!("the two headers are of different disks: {one}, {other}")
            }
            // One of them may be in the middle of being written.
            (Some(uuid), _) | (None, Some(uuid)) => Ok(Self::Luks(uuid)),
        }
    }
}

/// The facts about the disk of a node that is ready again: what it held, it holds. Says what that is.
pub(super) fn ensure_kept(before: Option<&Disk>, now: &Disk) -> Result<String> {
    match (before, now) {
        (Some(Disk::Luks(was)), Disk::Luks(uuid)) => {
            ensure!(was == uuid, "it was made anew: {was} is now {uuid}");
            Ok(format!("still {uuid}"))
        }
        (Some(Disk::Luks(was)), Disk::Blank) => bail!("{was} is gone: the disk is blank"),
        (_, Disk::Luks(uuid)) => Ok(format!("encrypted: {uuid}")),
        // An image without a stage for the disk leaves it as it is.
        (_, Disk::Blank) => Ok("blank: this image does nothing with it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(headers: &[(u64, &[u8], &str)]) -> Result<Disk> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.raw");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        for (at, magic, uuid) in headers {
            file.write_all_at(magic, *at).unwrap();
            file.write_all_at(uuid.as_bytes(), at + UUID_AT as u64)
                .unwrap();
        }
        Disk::read(&path)
    }

    #[test]
    fn headers_are_found_and_must_agree() {
        assert_eq!(disk(&[]).unwrap(), Disk::Blank);
        let luks = Disk::Luks("a-b".to_owned());
        let (one, two) = ((0, PRIMARY, "a-b"), (SECOND_AT, SECONDARY, "a-b"));
        for headers in [&[one][..], &[two], &[one, two]] {
            assert_eq!(disk(headers).unwrap(), luks);
        }
        assert!(disk(&[one, (SECOND_AT, SECONDARY, "c-d")]).is_err());
    }

    #[test]
    fn what_was_there_must_stay() {
        let luks = |uuid: &str| Disk::Luks(uuid.to_owned());
        for (before, now, is_kept) in [
            (None, Disk::Blank, true),
            (None, luks("a"), true),
            (Some(Disk::Blank), luks("a"), true),
            (Some(luks("a")), luks("a"), true),
            (Some(luks("a")), luks("b"), false),
            (Some(luks("a")), Disk::Blank, false),
        ] {
            let kept = ensure_kept(before.as_ref(), &now);
            assert_eq!(kept.is_ok(), is_kept, "{before:?} {now:?}");
        }
    }
}
