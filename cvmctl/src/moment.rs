//! Points in time, as RFC 3339 writes them in UTC: `2026-03-01T12:00:00Z`.
//!
//! I/O: none.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use x509_cert::der::DateTime;

/// A second, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

/// A text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2026-03-01T12:00:00Z, got {0:?}")]
pub(crate) struct MomentError(String);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(time) => time.fmt(f),
            // After the year 9999.
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let time: Result<DateTime, _> = text.parse();
        match time {
            Ok(time) => Ok(Self(time.unix_duration().as_secs())),
            Err(_) => Err(MomentError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_alike() {
        let moment: Moment = "2026-02-18T13:58:55Z".parse().unwrap();
        assert_eq!(moment, Moment(1_771_423_135));
        assert_eq!(moment.to_string(), "2026-02-18T13:58:55Z");
        for wrong in ["", "2026-02-18", "2026-02-30T00:00:00Z", "1771423135"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
