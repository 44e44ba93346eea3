//! What is written to a disk's beginning, and in which order, as data.
//!
//! Power may be cut anywhere, and of what was written since the last flush any part may be on the disk,
//! in whole sectors. So an order is a list that tests can cut in pieces, and what a start makes of each
//! piece is in [`crate::slots`]:
//!
//! - A disk that is **formatted** first gets record A, which says so: from the first sector on, the disk is
//!   blank or known to be half-made. Then headers and record B. After the file system is made, both records
//!   say that the disk is ready.
//! - A **change** of the header is written to the slot that is not used, header, flush, record, flush; and then
//!   in the same way to the other one. One of the two is whole at any time.
//!
//! I/O: [`apply`] writes.

use std::io::{self, Seek, SeekFrom, Write};

use crate::layout::{DATA_OFFSET, SECTOR, Slot};

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Write these there.
    Write { offset: u64, bytes: &'a [u8] },
    /// Wait until all of it is on the disk.
    Flush,
}

/// A header with its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) record: &'a [u8; SECTOR],
}

/// Before the file system is made.
pub(crate) fn begin_format(new: Sealed<'_>) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for (offset, bytes) in [
        (Slot::A.record(), new.record.as_slice()),
        (Slot::A.header(), new.header),
        (Slot::B.header(), new.header),
        (Slot::B.record(), new.record),
    ] {
        steps.extend([Step::Write { offset, bytes }, Step::Flush]);
    }
    steps
}

/// After the file system was made.
pub(crate) fn end_format(record: &[u8; SECTOR]) -> Vec<Step<'_>> {
    let write = |slot: Slot| {
        let offset = slot.record();
        [
            Step::Write {
                offset,
                bytes: record,
            },
            Step::Flush,
        ]
    };
    Slot::ALL.into_iter().flat_map(write).collect()
}

/// Makes one slot this.
pub(crate) fn replace(slot: Slot, new: Sealed<'_>) -> Vec<Step<'_>> {
    let header = Step::Write {
        offset: slot.header(),
        bytes: new.header,
    };
    let record = Step::Write {
        offset: slot.record(),
        bytes: new.record,
    };
    vec![header, Step::Flush, record, Step::Flush]
}

/// Makes both slots this, while the used one stays as it is until the other one is whole.
pub(crate) fn change(used: Slot, new: Sealed<'_>) -> Vec<Step<'_>> {
    [replace(used.other(), new), replace(used, new)].concat()
}

/// Makes both ends of a disk blank, with this mebibyte of zeros.
pub(crate) fn wipe(disk_bytes: u64, zeros: &[u8]) -> Vec<Step<'_>> {
    let end = disk_bytes.saturating_sub(DATA_OFFSET);
    let parts = (0..DATA_OFFSET).step_by(zeros.len().max(1));
    let all = parts
        .clone()
        .chain(parts.map(|part| end.saturating_add(part)));
    let writes = all.map(|offset| Step::Write {
        offset,
        bytes: zeros,
    });
    writes.chain([Step::Flush]).collect()
}

/// Does it.
pub(crate) fn apply(device: &mut (impl Write + Seek), steps: &[Step<'_>]) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Write { offset, bytes } => {
                device.seek(SeekFrom::Start(*offset))?;
                device.write_all(bytes)?;
            }
            Step::Flush => device.flush()?,
        }
    }
    Ok(())
}
