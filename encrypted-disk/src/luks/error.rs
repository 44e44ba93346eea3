//! What can be wrong with a header.
//!
//! I/O: none.

use crate::layout::HEADER_BYTES;

/// Why a LUKS2 header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a header's length.
    #[error("the header has {actual} bytes, expected {HEADER_BYTES}")]
    Size {
        /// How many there are.
        actual: usize,
    },

    /// A binary field is not what it has to be.
    #[error("{copy} copy: {field} is {actual}, expected {expected}")]
    Binary {
        /// "first" or "second".
        copy: &'static str,
        /// The field's name in the specification.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        actual: String,
    },

    /// A copy is damaged, or was changed by something that does not know how.
    #[error("{copy} copy: the checksum is wrong")]
    Checksum {
        /// "first" or "second".
        copy: &'static str,
    },

    /// The copies do not say the same.
    #[error("the copies differ in {field}")]
    Differ {
        /// In what.
        field: &'static str,
    },

    /// The metadata are not JSON, or have a member that is unknown, missing, doubled or of another type.
    #[error("the metadata: {0}")]
    Json(String),

    /// There are data behind the JSON.
    #[error("data behind the metadata's end")]
    Trailing,

    /// There is not exactly the one that there has to be.
    #[error("{actual} {what}, expected {expected}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there have to be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },

    /// A member has a value that is not on the list.
    #[error("{member} is {actual}, expected {expected}")]
    Value {
        /// Its path.
        member: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        actual: String,
    },
}
