//! What a TEE follows from: a seed, a moment and at most one fault.
//!
//! I/O: none.

use time::{Duration, OffsetDateTime};

use super::fault::Fault;

/// Everything that decides the bytes that a TEE makes, apart from what it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) now: OffsetDateTime,
    pub(super) fault: Option<Fault>,
}

impl Case {
    /// Whether this fault is the one.
    pub(super) fn is(&self, fault: impl Into<Fault>) -> bool {
        self.fault == Some(fault.into())
    }

    /// `faulty` if this fault is the one, else `valid`.
    pub(super) fn either<T>(&self, fault: impl Into<Fault>, faulty: T, valid: T) -> T {
        if self.is(fault) { faulty } else { valid }
    }

    /// From `before` ago to `after` from now.
    pub(super) fn around(&self, before: Duration, after: Duration) -> Validity {
        Validity {
            from: self.now - before,
            until: self.now + after,
        }
    }

    /// A time that was over an hour ago.
    pub(super) fn past(&self) -> Validity {
        self.around(Duration::days(60), -Duration::hours(1))
    }

    /// A time that starts in an hour.
    pub(super) fn future(&self) -> Validity {
        self.around(-Duration::hours(1), Duration::days(60))
    }
}

/// From when until when something counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) from: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

/// A time as Intel's JSON writes it: UTC, whole seconds.
pub(super) fn written(time: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
