//! Decides what to do with a disk, from what was seen alone.
//!
//! Only a disk on which nothing at all was seen is formatted. That a key does not fit, that a read failed,
//! that a header is gone: none of it is a reason to format. What is not seen: data which are nowhere in the
//! [samples](mod@crate::inspect), and that a host hides. Who must not lose data to a disk that was emptied outside
//! turns formatting off ([`crate::Settings::formats_blank`]) once the disk has data.
//!
//! I/O: none.

use crate::inspect::{Inspection, Signature};
use crate::layout::{BLOCK, DATA_OFFSET, LEAST_BYTES};

/// What blkid calls LUKS, which our own headers are.
const LUKS: &str = "crypto_LUKS";

/// What to do with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It looks like ours: find out with the key.
    Open,
    /// It is blank.
    Format,
    /// Leave it alone.
    Refuse(Refusal),
}

/// Why a disk is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be written.
    #[error("the disk is read-only")]
    ReadOnly,

    /// A part of it cannot be read.
    #[error("the disk cannot be read at {offset}")]
    Unreadable {
        /// Where.
        offset: u64,
    },

    /// It is too small.
    #[error("the disk has {actual} bytes, expected {LEAST_BYTES} at least")]
    Small {
        /// How many it has.
        actual: u64,
    },

    /// It does not have whole blocks.
    #[error("the disk has {actual} bytes, which are not whole blocks of {BLOCK}")]
    Uneven {
        /// How many it has.
        actual: u64,
    },

    /// There is something of somebody else.
    #[error("the disk has foreign data: {kind}{}", at(*offset))]
    Foreign {
        /// What it is.
        kind: String,
        /// Where, if that is known.
        offset: Option<u64>,
    },

    /// There is a LUKS header, and no record of ours.
    #[error("the disk has a LUKS header at {offset} that is not ours")]
    ForeignLuks {
        /// Where.
        offset: u64,
    },

    /// There is something that nobody knows.
    #[error("the disk is not blank: there are data in the mebibyte at {offset}, and no header")]
    NotBlank {
        /// Where.
        offset: u64,
    },

    /// It is blank, or half formatted by us, but the configuration says that such disks are not formatted.
    #[error(
        "the disk is blank or half formatted, and the configuration does not allow to format it"
    )]
    FormatNotAllowed,
}

fn at(offset: Option<u64>) -> String {
    offset
        .map(|offset| format!(" at {offset}"))
        .unwrap_or_default()
}

impl Refusal {
    /// Whether an operator's word makes it good: not if the disk cannot be written or is too small.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::Foreign { .. }
            | Self::ForeignLuks { .. }
            | Self::NotBlank { .. }
            | Self::FormatNotAllowed => true,
            Self::ReadOnly | Self::Unreadable { .. } | Self::Small { .. } | Self::Uneven { .. } => {
                false
            }
        }
    }
}

/// Decides. Of a disk that has a record of ours, the key says more than what else is seen there: one slot may be
/// unreadable or lie under something foreign, and the other one be sound.
pub fn plan(seen: &Inspection) -> Plan {
    let actual = seen.bytes;
    let is_ours = !seen.records.is_empty();
    let refusal = if let Some(offset) = seen.unreadable.filter(|_| !is_ours) {
        Some(Refusal::Unreadable { offset })
    } else if seen.is_read_only {
        Some(Refusal::ReadOnly)
    } else if actual < LEAST_BYTES {
        Some(Refusal::Small { actual })
    } else if !actual.is_multiple_of(BLOCK) {
        Some(Refusal::Uneven { actual })
    } else if is_ours {
        None
    } else if let Some(offset) = seen.luks.first() {
        Some(Refusal::ForeignLuks { offset: *offset })
    } else {
        let blank = seen.data.map(|offset| Refusal::NotBlank { offset });
        foreign(seen, |_| true).or(blank)
    };
    match refusal {
        Some(refusal) => Plan::Refuse(refusal),
        None if is_ours => Plan::Open,
        None => Plan::Format,
    }
}

/// What speaks against a disk with a record of ours, unless a slot is sound: something foreign where the headers
/// are, or what cannot be read. Behind the headers is ciphertext, which may look like anything.
pub(crate) fn doubt(seen: &Inspection) -> Option<Refusal> {
    let is_foreign = |signature: &Signature| {
        let offset = signature.offset;
        signature.kind != LUKS && offset.is_some_and(|offset| offset < DATA_OFFSET)
    };
    let unreadable = seen.unreadable.map(|offset| Refusal::Unreadable { offset });
    foreign(seen, is_foreign).or(unreadable)
}

fn foreign(seen: &Inspection, is_foreign: impl Fn(&Signature) -> bool) -> Option<Refusal> {
    let signature = seen.signatures.iter().find(|it| is_foreign(it))?;
    Some(Refusal::Foreign {
        kind: signature.kind.clone(),
        offset: signature.offset,
    })
}

#[cfg(test)]
mod tests;
