//! The data disk's image, as it can be seen, and tampered with, from outside without a key.
//!
//! A header is there twice, at 0 and at 8 MiB, each with two copies of its metadata (LUKS2 On-Disk Format
//! Specification, 2.1) and a record behind it that says how far the disk has come: what is written here of
//! `encrypted-disk`'s layout is written by hand, so that the node's own reading is not what it is tested by.
//!
//! I/O: reads and writes the image.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Where the two slots begin.
const SLOTS: [u64; 2] = [0, 8 << 20];
/// Where a slot's record is, and where it ends with that.
const RECORD: u64 = 4 << 20;
const RECORD_BYTES: u64 = 512;
/// What of the disk is the slots'.
const BEGINNING: usize = 16 << 20;

/// Both copies' magic, where they are in a slot, and their bytes.
const COPIES: [(u64, &[u8]); 2] = [(0, b"LUKS\xba\xbe"), (0x4000, b"SKUL\xba\xbe")];
const COPY: usize = 0x4000;
/// In a copy.
const UUID: Range<usize> = 168..208;
const CHECKSUM: Range<usize> = 448..512;

/// What a record begins with, and where its state is; of a disk that has data it is this.
const MAGIC: &[u8] = b"cvm-disk";
const STATE: Range<usize> = 16..20;
const READY: [u8; 4] = [2, 0, 0, 0];

/// A cipher, and none, which are equally long.
const CIPHER: &[u8] = b"aes-xts-plain64";
const NO_CIPHER: &[u8] = b"cipher_null-ecb";

/// What is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Zeros, as far as headers and records go.
    Blank,
    /// Something is written, and nothing yet says that there are data.
    Begun,
    /// A record says that there are data, and the header before it is whole and has this UUID.
    Ready(String),
}

impl Disk {
    /// Looks.
    ///
    /// # Errors
    ///
    /// The file cannot be read; or what it says cannot be of a disk whose power was cut: it has data and not
    /// one whole header, or two of different disks.
    pub(crate) fn read(image: &Path) -> Result<Self> {
        let mut bytes = vec![0; BEGINNING];
        let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
        file.read_exact_at(&mut bytes, 0).context("read the disk")?;
        Self::of(&bytes)
    }

    fn of(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Self::Blank);
        }
        let slots = SLOTS.map(|slot| at(bytes, slot, BEGINNING));
        let ready: Vec<_> = slots.into_iter().filter(|slot| has_data(slot)).collect();
        let mut whole = ready.iter().filter_map(|slot| uuid(slot));
        match (whole.next(), whole.next()) {
            _ if ready.is_empty() => Ok(Self::Begun),
            (Some(one), Some(other)) if one != other => {
                bail!("the two headers are of different disks: {one}, {other}")
            }
            (Some(uuid), _) => Ok(Self::Ready(uuid)),
            (None, _) => bail!("it has data, and no header that is whole"),
        }
    }
}

/// What is there, up to so many bytes.
fn at(bytes: &[u8], offset: u64, most: usize) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|it| bytes.get(it..));
    let rest = rest.unwrap_or_default();
    rest.get(..most).unwrap_or(rest)
}

/// Whether a slot's record says that there are data.
fn has_data(slot: &[u8]) -> bool {
    let record = at(slot, RECORD, 512);
    record.starts_with(MAGIC) && record.get(STATE) == Some(&READY)
}

/// The UUID of a slot whose two copies are whole and have the same.
fn uuid(slot: &[u8]) -> Option<String> {
    let uuids = COPIES.map(|(offset, magic)| {
        let copy = at(slot, offset, COPY);
        let is_whole = copy.starts_with(magic) && copy.get(CHECKSUM) == Some(&checksum(copy)?);
        let uuid = String::from_utf8_lossy(copy.get(UUID)?);
        is_whole.then(|| uuid.trim_end_matches('\0').to_owned())
    });
    let [Some(first), Some(second)] = uuids else {
        return None;
    };
    (first == second).then_some(first)
}

/// What a copy's field has to be: SHA-256 of all the rest, and zeros in its own place.
fn checksum(copy: &[u8]) -> Option<[u8; 64]> {
    let digest = Sha256::new()
        .chain_update(copy.get(..CHECKSUM.start)?)
        .chain_update([0; 64])
        .chain_update(copy.get(CHECKSUM.end..)?)
        .finalize();
    let mut field = [0; 64];
    field
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    Some(field)
}

/// SHA-256 of all of it.
pub(crate) fn digest(image: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(image).with_context(|| format!("open {}", image.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut chunk).context("read the disk")?;
        if length == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(chunk.get(..length).unwrap_or_default());
    }
}

/// Makes the headers say that nothing is encrypted, as one would who wants to read what the node writes: all
/// copies, with checksums that are right.
///
/// # Errors
///
/// Also if there is a copy without a cipher that could be replaced.
pub(crate) fn take_the_cipher(image: &Path) -> Result<()> {
    let file = writable(image)?;
    for offset in SLOTS
        .into_iter()
        .flat_map(|slot| COPIES.map(|it| slot + it.0))
    {
        let mut copy = vec![0; COPY];
        file.read_exact_at(&mut copy, offset)
            .context("read a header")?;
        let mut replaced = 0;
        while let Some(place) = copy.windows(CIPHER.len()).position(|it| it == CIPHER) {
            let place = copy.get_mut(place..place + CIPHER.len());
            place.context("find the cipher")?.copy_from_slice(NO_CIPHER);
            replaced += 1;
        }
        ensure!(replaced > 0, "there is no cipher in the header at {offset}");
        let sum = checksum(&copy).context("read a header")?;
        let field = copy.get_mut(CHECKSUM).context("read a header")?;
        field.copy_from_slice(&sum);
        file.write_all_at(&copy, offset).context("write a header")?;
    }
    Ok(())
}

/// Changes one bit of the proof in each record.
pub(crate) fn change_the_records(image: &Path) -> Result<()> {
    for slot in SLOTS {
        let last = slot + RECORD + RECORD_BYTES - 1;
        testkit::tamper::disk::flip(image, last).context("change a record")?;
    }
    Ok(())
}

/// Makes the first slot, header and record, zero.
pub(crate) fn empty_the_first_slot(image: &Path) -> Result<()> {
    let zeros = vec![0; usize::try_from(RECORD + RECORD_BYTES)?];
    let file = writable(image)?;
    file.write_all_at(&zeros, 0).context("empty a slot")
}

fn writable(image: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(image);
    file.with_context(|| format!("open {}", image.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot with this UUID, whose record has this state.
    fn write(disk: &mut [u8], slot: u64, uuid: &str, state: u8) {
        for (offset, magic) in COPIES {
            let begin = usize::try_from(slot + offset).unwrap();
            let copy = &mut disk[begin..begin + COPY];
            copy[..magic.len()].copy_from_slice(magic);
            copy[UUID.start..UUID.start + uuid.len()].copy_from_slice(uuid.as_bytes());
            copy[5000..5000 + CIPHER.len()].copy_from_slice(CIPHER);
            let sum = checksum(copy).unwrap();
            copy[CHECKSUM].copy_from_slice(&sum);
        }
        let record = usize::try_from(slot + RECORD).unwrap();
        disk[record..record + MAGIC.len()].copy_from_slice(MAGIC);
        disk[record + STATE.start] = state;
    }

    fn disk(slots: &[(u64, &str, u8)]) -> Vec<u8> {
        let mut disk = vec![0; BEGINNING];
        for (slot, uuid, state) in slots {
            write(&mut disk, *slot, uuid, *state);
        }
        disk
    }

    #[test]
    fn one_whole_slot_is_enough_and_two_must_agree() {
        let [one, two] = SLOTS;
        let ready = Disk::Ready("a-b".to_owned());
        for slots in [
            &[(one, "a-b", 2)][..],
            &[(two, "a-b", 2)],
            &[(one, "a-b", 2), (two, "a-b", 2)],
            &[(one, "a-b", 2), (two, "c-d", 1)],
        ] {
            assert_eq!(Disk::of(&disk(slots)).unwrap(), ready, "{slots:?}");
        }
        assert!(Disk::of(&disk(&[(one, "a-b", 2), (two, "c-d", 2)])).is_err());
    }

    #[test]
    fn without_a_record_of_data_it_is_begun_at_most() {
        assert_eq!(Disk::of(&disk(&[])).unwrap(), Disk::Blank);
        let half = disk(&[(SLOTS[0], "a-b", 1), (SLOTS[1], "a-b", 1)]);
        assert_eq!(Disk::of(&half).unwrap(), Disk::Begun);
        let mut scratch = disk(&[]);
        scratch[5] = 1;
        assert_eq!(Disk::of(&scratch).unwrap(), Disk::Begun);
    }

    #[test]
    fn data_without_a_whole_header_are_lost() {
        // Anywhere in either copy: its checksum is wrong then.
        for place in [0, 170, 6000, COPY, COPY + 6000] {
            let mut torn = disk(&[(SLOTS[0], "a-b", 2)]);
            torn[place] ^= 1;
            assert!(Disk::of(&torn).is_err(), "{place}");
        }
    }

    #[test]
    fn tampering_leaves_a_header_that_looks_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.raw");
        let slots = SLOTS.map(|slot| (slot, "a-b", 2));
        std::fs::write(&path, disk(&slots)).unwrap();
        let before = digest(&path).unwrap();
        take_the_cipher(&path).unwrap();
        assert_ne!(digest(&path).unwrap(), before);
        assert_eq!(Disk::read(&path).unwrap(), Disk::Ready("a-b".to_owned()));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(CIPHER.len()).any(|it| it == CIPHER));
        // There is none any more.
        assert!(take_the_cipher(&path).is_err());
        change_the_records(&path).unwrap();
        let changed = std::fs::read(&path).unwrap();
        let differ = bytes
            .iter()
            .zip(&changed)
            .filter(|(one, other)| one != other);
        assert_eq!(differ.count(), 2);
        empty_the_first_slot(&path).unwrap();
        assert_eq!(Disk::read(&path).unwrap(), Disk::Ready("a-b".to_owned()));
    }
}
