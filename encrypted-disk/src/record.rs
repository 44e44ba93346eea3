//! The record beside a header: what it is, and that it is ours.
//!
//! One sector, little-endian:
//!
//! ```text
//! offset  length  what
//! 0       8       "cvm-disk"
//! 8       4       version: 1
//! 12      4       length of the record: 512
//! 16      4       state: 1 formatting, 2 ready
//! 20      4       zero
//! 24      8       sequence: grows with each change
//! 32      8       bytes of the header: 4 MiB
//! 40      8       offset of the data: 16 MiB
//! 48      8       bytes of the disk when the record was written
//! 56      16      the key's name (`Key::id`), for messages only
//! 72      32      the disk's identity: SHA-256 of its serial or world-wide name, of nothing if it has none
//! 104     32      SHA-256 of the header, all 4 MiB of it
//! 136     344     zero
//! 480     32      HMAC-SHA-256 of the 480 bytes before
//! ```
//!
//! The tag covers the header through its digest. What a record proves: somebody who had the key wrote
//! this header to a disk. It does not prove that it was the last one: who owns the disk can put back
//! all of it as it was, header, record and data, and no disk can tell (rollback).
//!
//! I/O: none.

use ring::hmac;

use crate::key::{Key, KeyId};
use crate::layout::{DATA_OFFSET, HEADER_BYTES, SECTOR};

/// What a record begins with.
pub const MAGIC: [u8; 8] = *b"cvm-disk";
const VERSION: u32 = 1;
const TAG: usize = 480;

/// Why a sector is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not a sector.
    #[error("the record has {actual} bytes, expected {SECTOR}")]
    Size {
        /// How many there are.
        actual: usize,
    },

    /// Something else is there.
    #[error("the record does not begin with \"cvm-disk\"")]
    Magic,

    /// A field has a value that this version does not write.
    #[error("the record's {field} is {actual}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is written there.
        expected: u64,
        /// What is there.
        actual: u64,
    },

    /// The state is unknown.
    #[error("the record's state is {0}, expected 1 or 2")]
    State(u32),

    /// What is unused is zero.
    #[error("the record has data where it has no fields")]
    Unused,
}

/// How far a disk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no file system yet, or half of one: nothing of value.
    Formatting,
    /// There are data.
    Ready,
}

/// A parsed record. It is believed only after [`Unproven::authenticate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How far the disk has come.
    pub state: State,
    /// Grows with each change.
    pub sequence: u64,
    /// The disk's size when this was written.
    pub disk_bytes: u64,
    /// Which key authenticates it.
    pub key: KeyId,
    /// SHA-256 of the disk's serial or world-wide name.
    pub identity: [u8; 32],
    /// SHA-256 of the header.
    pub header: [u8; 32],
}

/// A record that anybody may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven {
    record: Record,
    bytes: [u8; SECTOR],
}

impl Record {
    /// The sector of a record.
    pub fn to_bytes(&self, key: &Key) -> [u8; SECTOR] {
        let state = match self.state {
            State::Formatting => 1_u32,
            State::Ready => 2,
        };
        let fields: [&[u8]; 11] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &(SECTOR as u32).to_le_bytes(),
            &state.to_le_bytes(),
            &[0; 4],
            &self.sequence.to_le_bytes(),
            &(HEADER_BYTES as u64).to_le_bytes(),
            &DATA_OFFSET.to_le_bytes(),
            &self.disk_bytes.to_le_bytes(),
            &self.key.0,
            &[self.identity, self.header].concat(),
        ];
        let mut bytes = fields.concat();
        bytes.resize(TAG, 0);
        let tag = hmac::sign(&key.authentication(), &bytes);
        let mut sector = [0; SECTOR];
        let written = bytes.iter().chain(tag.as_ref());
        sector
            .iter_mut()
            .zip(written)
            .for_each(|(to, from)| *to = *from);
        sector
    }
}

impl Unproven {
    /// Reads a sector.
    ///
    /// # Errors
    ///
    /// [`RecordError`] for whatever [`Record::to_bytes`] does not write; the tag is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let bytes: [u8; SECTOR] = bytes.try_into().map_err(|_| RecordError::Size {
            actual: bytes.len(),
        })?;
        if !bytes.starts_with(&MAGIC) {
            return Err(RecordError::Magic);
        }
        for (field, offset, expected) in [
            ("version", 8, u64::from(VERSION)),
            ("length", 12, SECTOR as u64),
        ] {
            expect(field, u64::from(u32_at(&bytes, offset)), expected)?;
        }
        expect("header length", u64_at(&bytes, 32), HEADER_BYTES as u64)?;
        expect("data offset", u64_at(&bytes, 40), DATA_OFFSET)?;
        let state = match u32_at(&bytes, 16) {
            1 => State::Formatting,
            2 => State::Ready,
            other => return Err(RecordError::State(other)),
        };
        let unused = array::<4>(&bytes, 20).into_iter();
        if unused
            .chain(array::<344>(&bytes, 136))
            .any(|byte| byte != 0)
        {
            return Err(RecordError::Unused);
        }
        let record = Record {
            state,
            sequence: u64_at(&bytes, 24),
            disk_bytes: u64_at(&bytes, 48),
            key: KeyId(array(&bytes, 56)),
            identity: array(&bytes, 72),
            header: array(&bytes, 104),
        };
        Ok(Self { record, bytes })
    }

    /// The key that it says it is authenticated with, for messages.
    pub fn claimed_key(&self) -> KeyId {
        self.record.key
    }

    /// The record, if `key` authenticates it.
    pub fn authenticate(&self, key: &Key) -> Option<Record> {
        let (signed, tag) = self.bytes.split_at_checked(TAG)?;
        hmac::verify(&key.authentication(), signed, tag)
            .ok()
            .map(|()| self.record)
    }
}

fn expect(field: &'static str, actual: u64, expected: u64) -> Result<(), RecordError> {
    if actual == expected {
        return Ok(());
    }
    Err(RecordError::Field {
        field,
        expected,
        actual,
    })
}

/// Bytes at a constant offset, all of which are inside.
fn array<const N: usize>(bytes: &[u8; SECTOR], offset: usize) -> [u8; N] {
    let found = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or([0; N])
}

fn u32_at(bytes: &[u8; SECTOR], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

fn u64_at(bytes: &[u8; SECTOR], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::parse("00112233445566778899aabbccddeeff").unwrap()
    }

    fn record() -> Record {
        Record {
            state: State::Ready,
            sequence: 7,
            disk_bytes: 1 << 40,
            key: key().id(),
            identity: [1; 32],
            header: [2; 32],
        }
    }

    #[test]
    fn record_is_read_back() {
        let bytes = record().to_bytes(&key());
        assert_eq!(
            &bytes[..24],
            b"cvm-disk\x01\0\0\0\0\x02\0\0\x02\0\0\0\0\0\0\0"
        );
        let unproven = Unproven::parse(&bytes).unwrap();
        assert_eq!(unproven.claimed_key(), key().id());
        assert_eq!(unproven.authenticate(&key()), Some(record()));
    }

    #[test]
    fn record_of_another_key_is_not_believed() {
        let other = Key::parse("ffeeddccbbaa99887766554433221100").unwrap();
        let unproven = Unproven::parse(&record().to_bytes(&other)).unwrap();
        assert_eq!(unproven.authenticate(&key()), None);
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let good = record().to_bytes(&key());
        for bit in 0..SECTOR * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let believed = Unproven::parse(&bad).is_ok_and(|r| r.authenticate(&key()).is_some());
            assert!(!believed, "bit {bit}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = record().to_bytes(&key());
        let parse = |offset: usize, value: u8| {
            let mut bytes = good;
            bytes[offset] = value;
            Unproven::parse(&bytes).unwrap_err().to_string()
        };
        assert_eq!(parse(8, 2), "the record's version is 2, expected 1");
        assert_eq!(parse(16, 3), "the record's state is 3, expected 1 or 2");
        assert_eq!(parse(300, 1), RecordError::Unused.to_string());
        assert_eq!(
            parse(43, 2),
            "the record's data offset is 33554432, expected 16777216"
        );
        let short = Unproven::parse(&good[1..]).unwrap_err();
        assert_eq!(short, RecordError::Size { actual: 511 });
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_parses_is_written_the_same(
            tail in proptest::collection::vec(any::<u8>(), SECTOR - 8),
            keep in 0..SECTOR,
        ) {
            let mut bytes = record().to_bytes(&key());
            bytes[8.max(keep)..].copy_from_slice(&tail[8.max(keep) - 8..]);
            let _ = Unproven::parse(&bytes);
        }
    }
}
