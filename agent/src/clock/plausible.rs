//! Which times can be.
//!
//! I/O: none.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// How long after an image was built it may run; systemd has the same limit (15 years).
const LIFE: Duration = Duration::from_secs(15 * 365 * 86_400);

/// Why a time cannot be. The image's date is the only one that the host has no part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implausible {
    /// It is before the image was built.
    TooEarly {
        /// The time.
        now: SystemTime,
        /// When the image was built.
        built: SystemTime,
    },
    /// It is so long after the image was built that the clock must be wrong.
    TooLate {
        /// The time.
        now: SystemTime,
        /// When the image was built.
        built: SystemTime,
    },
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, relation, built) = match self {
            Self::TooEarly { now, built } => (now, "before", built),
            Self::TooLate { now, built } => (now, "15 years after", built),
        };
        let (now, built) = (utc(*now), utc(*built));
        write!(
            f,
            "it shows {now}, {relation} the image was built ({built})"
        )
    }
}

/// Whether a time can be, given when the image was built.
pub(super) fn check(now: SystemTime, built: SystemTime) -> Result<(), Implausible> {
    match now.duration_since(built) {
        Err(_) => Err(Implausible::TooEarly { now, built }),
        Ok(age) if age > LIFE => Err(Implausible::TooLate { now, built }),
        Ok(_) => Ok(()),
    }
}

/// A time for people, to the second.
fn utc(time: SystemTime) -> String {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        Err(error) => i64::try_from(error.duration().as_secs()).ok().map(|s| -s),
    };
    let date = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match date {
        Some(date) => {
            let (hour, minute, second) = date.to_hms();
            format!("{}T{hour:02}:{minute:02}:{second:02}Z", date.date())
        }
        None => "a time that has no name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const BUILT: u64 = 1_793_491_200;
    const YEARS: u64 = 365 * 86_400;

    #[test]
    fn times_from_the_images_date_on_can_be() {
        let built = at(BUILT);
        for now in [BUILT, BUILT + 1, BUILT + 15 * YEARS] {
            assert_eq!(check(at(now), built), Ok(()), "{now}");
        }
        for now in [at(0), at(BUILT - 1), UNIX_EPOCH - Duration::from_secs(1)] {
            assert_eq!(check(now, built), Err(Implausible::TooEarly { now, built }));
        }
        for now in [at(BUILT + 15 * YEARS + 1), at(1 << 62)] {
            assert_eq!(check(now, built), Err(Implausible::TooLate { now, built }));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let early = check(at(61), at(BUILT)).unwrap_err();
        let expected =
            "it shows 1970-01-01T00:01:01Z, before the image was built (2026-11-01T00:00:00Z)";
        assert_eq!(early.to_string(), expected);
        let late = check(at(1 << 62), at(BUILT)).unwrap_err();
        assert!(
            late.to_string()
                .starts_with("it shows a time that has no name, 15 years after")
        );
        assert_eq!(
            utc(UNIX_EPOCH - Duration::from_secs(1)),
            "1969-12-31T23:59:59Z"
        );
    }
}
