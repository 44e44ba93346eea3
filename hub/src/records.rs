//! What the hub knows, and every change to it, one file for each kind of thing.
//!
//! Functions read; types that end in a verb's object are [`Command`](crate::database::Command)s.
//! Every command writes its own event within its transaction: no change without a trace.
//!
//! I/O: the database.

pub(crate) mod builders;
pub(crate) mod credentials;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod measurements;

/// A part of a list: what comes after an id, and how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// Only what has a larger id; 0 for the beginning.
    pub(crate) after: i64,
    /// At most so many.
    pub(crate) limit: i64,
}

impl Page {
    /// For lists that begin with the latest: only what has a smaller id than this.
    fn before(self) -> i64 {
        if self.after > 0 { self.after } else { i64::MAX }
    }
}

/// Most rows of the lists that the wire knows no pages of. Beyond, the answer is an error: a part
/// of the peers, or of the measurements, would pass for all of them.
pub(crate) const MOST: i64 = 50_000;

/// Refuses what reached the bound of an unpaged list.
pub(crate) fn all<T>(rows: Vec<T>) -> Result<Vec<T>, crate::database::Error> {
    if i64::try_from(rows.len()).is_ok_and(|rows| rows < MOST) {
        return Ok(rows);
    }
    Err(crate::database::Error::Shape {
        expected: "fewer rows",
        actual: format!("{MOST} or more"),
    })
}
