//! Looks at a disk, and keeps what was seen as plain data.
//!
//! Nothing is written. What is read: both ends of the disk, 16 MiB each; 64 MiB, one at a time, evenly
//! spread between them, or all of a disk of a gibibyte and less; the places where LUKS headers are; and what blkid and wipefs know. That
//! a disk is blank is what all of them together say.
//!
//! I/O: reads the device; runs blkid and wipefs.

mod probe;

use std::io::{self, Read, Seek};

pub use self::probe::Signature;
use crate::device::{Access, Device, read_at};
use crate::find::Disk;
use crate::layout::{DATA_OFFSET, Slot};
use crate::run::{Run, RunError};
use crate::{luks, record};

/// Bytes at each end.
const END: u64 = DATA_OFFSET;
/// Bytes of a sample.
const SAMPLE: u64 = 1 << 20;
const SAMPLES: u64 = 64;
/// A disk of at most so many bytes is read whole: it takes seconds.
const WHOLE: u64 = 1 << 30;
static ZEROS: [u8; SAMPLE as usize] = [0; SAMPLE as usize];

/// Why a disk could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It could not be opened.
    #[error("open {device}")]
    Open {
        /// The device.
        device: String,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// blkid or wipefs did not answer.
    #[error("look for signatures")]
    Probe(#[from] RunError),
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Its size.
    pub bytes: u64,
    /// Whether it cannot be written.
    pub is_read_only: bool,
    /// Where a read failed first.
    pub unreadable: Option<u64>,
    /// Where there is a LUKS magic.
    pub luks: Vec<u64>,
    /// Which slots have something that begins as our record does.
    pub records: Vec<Slot>,
    /// What blkid and wipefs know.
    pub signatures: Vec<Signature>,
    /// The first mebibyte, of those read, that is not all zero.
    pub data: Option<u64>,
}

/// Looks at a disk that nobody uses.
///
/// # Errors
///
/// [`InspectError`] if it cannot be opened, as when something uses it, or a program fails. A read that fails
/// is no error here, but part of the answer.
pub fn inspect(disk: &Disk, run: &mut dyn Run) -> Result<Inspection, InspectError> {
    let open = |source| InspectError::Open {
        device: disk.device.display().to_string(),
        source,
    };
    let mut device = Device::open(disk, Access::ReadAlone).map_err(open)?;
    let mut inspection = look(&mut device, disk.bytes);
    inspection.is_read_only = disk.is_read_only;
    // The programs ask for the disk alone too.
    drop(device);
    if inspection.unreadable.is_none() {
        inspection.signatures = probe::probe(&disk.device, run)?;
    }
    Ok(inspection)
}

/// What reading says.
pub(crate) fn look(device: &mut (impl Read + Seek), bytes: u64) -> Inspection {
    let mut seen = Inspection {
        bytes,
        is_read_only: false,
        unreadable: None,
        luks: Vec::new(),
        records: Vec::new(),
        signatures: Vec::new(),
        data: None,
    };
    let first = (0, luks::MAGIC);
    let seconds = luks::SECOND_OFFSETS.map(|offset| (offset, luks::SECOND_MAGIC));
    // A second slot's header does not begin where the disk does.
    let copy = (Slot::B.header(), luks::MAGIC);
    // One place that cannot be read is no reason not to look at the others: a record may be there.
    for (offset, magic) in [first, copy].into_iter().chain(seconds) {
        if seen.keep(has(device, bytes, offset, &magic)) == Some(true) {
            seen.luks.push(offset);
        }
    }
    for slot in Slot::ALL {
        if seen.keep(has(device, bytes, slot.record(), &record::MAGIC)) == Some(true) {
            seen.records.push(slot);
        }
    }
    for (offset, length) in windows(bytes) {
        let read = read_at(device, offset, length).map_err(|_| offset);
        let Some(window) = seen.keep(read) else {
            break;
        };
        if ZEROS.get(..length) != Some(&window) {
            seen.data = Some(offset);
            break;
        }
    }
    seen
}

impl Inspection {
    /// What was read; where it was not, that is kept.
    fn keep<T>(&mut self, read: Result<T, u64>) -> Option<T> {
        read.map_err(|offset| self.unreadable.get_or_insert(offset))
            .ok()
    }
}

/// Fails with the offset that could not be read.
fn has(
    device: &mut (impl Read + Seek),
    bytes: u64,
    offset: u64,
    magic: &[u8],
) -> Result<bool, u64> {
    let end = offset.saturating_add(magic.len() as u64);
    if end > bytes {
        return Ok(false);
    }
    let found = read_at(device, offset, magic.len()).map_err(|_| offset)?;
    Ok(found == magic)
}

/// What is read to see whether there are zeros: offsets and lengths, in order, a mebibyte at most.
fn windows(bytes: u64) -> Vec<(u64, usize)> {
    let starts: Vec<u64> = if bytes <= WHOLE {
        (0..bytes.div_ceil(SAMPLE))
            .map(|n| n.saturating_mul(SAMPLE))
            .collect()
    } else {
        let end = (0..END / SAMPLE).map(|n| n.saturating_mul(SAMPLE));
        let last = bytes.saturating_sub(END);
        // The last sample ends where the last end begins.
        let room = last.saturating_sub(END).saturating_sub(SAMPLE);
        let sample = |n: u64| {
            let part = u128::from(room).saturating_mul(u128::from(n));
            let part = part
                .checked_div(u128::from(SAMPLES - 1))
                .unwrap_or_default();
            END.saturating_add(u64::try_from(part).unwrap_or(room))
        };
        let tail = end.clone().map(|offset| last.saturating_add(offset));
        end.chain((0..SAMPLES).map(sample)).chain(tail).collect()
    };
    let length = |start: u64| SAMPLE.min(bytes.saturating_sub(start));
    let window = |start| {
        usize::try_from(length(start))
            .ok()
            .map(|length| (start, length))
    };
    starts.into_iter().filter_map(window).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn windows_are_both_ends_and_samples_between() {
        let bytes = 1 << 40;
        let windows = windows(bytes);
        assert_eq!(windows.len(), 16 + 64 + 16);
        assert_eq!(windows[0], (0, 1 << 20));
        assert_eq!(windows[16], (16 << 20, 1 << 20));
        assert_eq!(windows[79], (bytes - (17 << 20), 1 << 20));
        assert_eq!(windows[95], (bytes - (1 << 20), 1 << 20));
        assert!(
            windows
                .windows(2)
                .all(|pair| pair[0].0 + (1 << 20) <= pair[1].0)
        );
    }

    #[test]
    fn small_disk_is_read_whole() {
        let windows = windows((90 << 20) + 5);
        assert_eq!(windows.len(), 91);
        assert_eq!(windows[90], (90 << 20, 5));
        assert!(super::windows(0).is_empty());
    }

    #[test]
    fn one_byte_in_an_end_or_a_sample_is_seen() {
        let bytes: u64 = 2 << 30;
        let mut disk = tempfile::tempfile().unwrap();
        disk.set_len(bytes).unwrap();
        assert_eq!(look(&mut disk, bytes).data, None);
        for (offset, length) in windows(bytes) {
            let at = offset + length as u64 - 1;
            disk.write_all_at(&[1], at).unwrap();
            let seen = look(&mut disk, bytes).data.unwrap();
            assert!(seen <= at && at - seen < 1 << 20, "{at}");
            disk.write_all_at(&[0], at).unwrap();
        }
    }

    #[test]
    fn every_place_of_a_header_or_record_is_looked_at() {
        let bytes: u64 = 32 << 20;
        for offset in luks::SECOND_OFFSETS {
            let mut disk = vec![0; bytes as usize];
            disk[offset as usize..][..6].copy_from_slice(b"SKUL\xba\xbe");
            assert_eq!(look(&mut Cursor::new(disk), bytes).luks, [offset]);
        }
        let mut disk = vec![0; bytes as usize];
        disk[..6].copy_from_slice(b"LUKS\xba\xbe");
        disk[12 << 20..][..8].copy_from_slice(b"cvm-disk");
        let seen = look(&mut Cursor::new(disk), bytes);
        assert_eq!((seen.luks, seen.records), (vec![0], vec![Slot::B]));
    }

    #[test]
    fn failing_read_is_part_of_the_answer() {
        // The disk says that it is longer than it is.
        let mut disk = Cursor::new(vec![0; 20 << 20]);
        assert_eq!(look(&mut disk, 32 << 20).unreadable, Some(20 << 20));
    }
}
