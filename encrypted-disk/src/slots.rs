//! Reads both slots once, and decides what they are worth.
//!
//! What is read here is what is used: the header that is authenticated and checked is the copy in
//! memory that cryptsetup gets. What the disk says later does not matter.
//!
//! I/O: [`read`] reads.

use std::io::{self, Read, Seek};

use ring::digest;

use crate::device::read_at;
use crate::key::{KeyId, Keys, Which};
use crate::layout::{HEADER_BYTES, SECTOR, Slot};
use crate::luks::HeaderError;
use crate::record::{Record, RecordError, State, Unproven};

/// Why a disk that looks like ours is not opened. Nothing on it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// The record is under another key.
    #[error("the key is wrong: the disk wants key {disk}, the configured one is key {ours}")]
    WrongKey {
        /// What the disk says it wants.
        disk: KeyId,
        /// The name of the key that was given.
        ours: KeyId,
    },

    /// The record says that it is under our key, and is not.
    #[error(
        "the record of slot {slot} is not authentic: it is damaged, or somebody has changed it"
    )]
    Forged {
        /// Which.
        slot: Slot,
    },

    /// There is no record that could be read.
    #[error("the record of slot {slot} is damaged")]
    Record {
        /// Which.
        slot: Slot,
        /// How.
        #[source]
        source: RecordError,
    },

    /// A slot cannot be read, and the other one does not help.
    #[error("the disk cannot be read in slot {slot} of the header")]
    Unreadable {
        /// Which.
        slot: Slot,
    },

    /// The records are authentic, and the headers are not what they say.
    #[error(
        "the header is not the one that was written: it is damaged, or somebody has changed it"
    )]
    HeaderChanged,

    /// The header is authentic and not what we make.
    #[error("the header is not allowed")]
    Header(#[from] HeaderError),

    /// The disk was being formatted when it was another one.
    #[error("the disk says that it is half-formatted, but is a copy of another disk")]
    OtherDisk,

    /// The header is authentic, and its keyslot does not take the key.
    #[error("the header's keyslot does not take the key: its area is damaged")]
    KeyRejected,
}

impl OpenRefusal {
    /// Whether an operator's word makes it good: not if the disk is broken.
    pub fn is_about_content(&self) -> bool {
        !matches!(self, Self::Unreadable { .. })
    }
}

/// One slot as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) header: Vec<u8>,
    pub(crate) record: Vec<u8>,
}

/// What a slot is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// No record, zeros.
    Empty,
    /// It cannot be read, or not all of it.
    Unreadable,
    /// Something that is no record.
    NotARecord(RecordError),
    /// A record under another key.
    OtherKey(KeyId),
    /// A record that claims our key.
    Forged,
    /// An authentic record beside a header that is not its own.
    HeaderChanged(Record),
    /// All of it is authentic, by this key.
    Sound(Record, Which),
}

/// What a disk is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Open it with this slot's header, and make the other one like it if it is not.
    Open {
        slot: Slot,
        record: Record,
        by: Which,
        repair: bool,
    },
    /// It was being formatted and holds nothing: begin again, after this sequence.
    FormatAgain { sequence: u64 },
}

/// Which disk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) bytes: u64,
    pub(crate) digest: [u8; 32],
}

/// Reads slot A, then slot B. One that cannot be read is `None`: that is why there are two.
pub(crate) fn read(device: &mut (impl Read + Seek)) -> [Option<Content>; 2] {
    let mut read = |slot: Slot| {
        Ok::<_, io::Error>(Content {
            header: read_at(device, slot.header(), HEADER_BYTES)?,
            record: read_at(device, slot.record(), SECTOR)?,
        })
    };
    Slot::ALL.map(|slot| read(slot).ok())
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap_or_default()
}

/// What a slot is worth to who has these keys.
pub(crate) fn judge(content: Option<&Content>, keys: Keys<'_>) -> Finding {
    let Some(content) = content else {
        return Finding::Unreadable;
    };
    if content.record.iter().all(|byte| *byte == 0) {
        return Finding::Empty;
    }
    let unproven = match Unproven::parse(&content.record) {
        Ok(unproven) => unproven,
        Err(error) => return Finding::NotARecord(error),
    };
    let claimed = unproven.claimed_key();
    let proven = keys
        .all()
        .find_map(|(which, key)| Some((unproven.authenticate(key)?, which)));
    match proven {
        Some((record, by)) if record.header == sha256(&content.header) => {
            Finding::Sound(record, by)
        }
        Some((record, _)) => Finding::HeaderChanged(record),
        None if keys.all().any(|(_, key)| key.id() == claimed) => Finding::Forged,
        None => Finding::OtherKey(claimed),
    }
}

/// Decides. Data are never given up: what says that it is ready wins over what says that it is being
/// formatted, and formatting begins again only on the disk where it began, with nothing foreign beside it.
pub(crate) fn decide(
    findings: &[Finding; 2],
    keys: Keys<'_>,
    disk: Identity,
) -> Result<Decision, OpenRefusal> {
    let slots = || Slot::ALL.into_iter().zip(findings);
    let authentic = || {
        slots().filter_map(|(slot, finding)| match finding {
            Finding::Sound(record, by) => Some((slot, *record, Some(*by))),
            Finding::HeaderChanged(record) => Some((slot, *record, None)),
            _ => None,
        })
    };
    let is_ready = |(_, record, _): &(Slot, Record, Option<Which>)| record.state == State::Ready;
    let usable = authentic().filter(is_ready);
    let usable = usable.filter_map(|(slot, record, by)| Some((slot, record, by?)));
    // The first of two that are the same.
    if let Some((slot, record, by)) = usable.rev().max_by_key(|(_, record, _)| record.sequence) {
        let repair = slots().any(|(_, finding)| *finding != Finding::Sound(record, by));
        return Ok(Decision::Open {
            slot,
            record,
            by,
            repair,
        });
    }
    if authentic().any(|found| is_ready(&found)) {
        return Err(OpenRefusal::HeaderChanged);
    }
    // Nobody's key before nobody's disk: the worst is said first.
    let forged = slots().find(|(_, finding)| **finding == Finding::Forged);
    if let Some((slot, _)) = forged {
        return Err(OpenRefusal::Forged { slot });
    }
    // A wrong key before a damaged record: what is mended at the hub must not look like a lost disk.
    for (_, finding) in slots() {
        if let Finding::OtherKey(disk) = finding {
            let (disk, ours) = (*disk, keys.present.id());
            return Err(OpenRefusal::WrongKey { disk, ours });
        }
    }
    // What cannot be read may be anything: not beside it is formatting begun again.
    for (slot, finding) in slots() {
        if *finding == Finding::Unreadable {
            return Err(OpenRefusal::Unreadable { slot });
        }
    }
    for (slot, finding) in slots() {
        if let Finding::NotARecord(source) = finding {
            let source = *source;
            return Err(OpenRefusal::Record { slot, source });
        }
    }
    let Some((_, marker, _)) = authentic().max_by_key(|(_, record, _)| record.sequence) else {
        let (slot, source) = (Slot::A, RecordError::Magic);
        return Err(OpenRefusal::Record { slot, source });
    };
    if (marker.disk_bytes, marker.identity) != (disk.bytes, disk.digest) {
        return Err(OpenRefusal::OtherDisk);
    }
    let sequence = marker.sequence;
    Ok(Decision::FormatAgain { sequence })
}

#[cfg(test)]
mod tests;
