//! Notices when somebody sets the clock.
//!
//! The kernel keeps the time of day as its monotonic clock plus an offset. chronyd's gentle
//! corrections change the rate of both; only setting the clock, or a leap second, changes the offset.
//! So the two clocks, read together now and then, tell of every step and of nothing else, whoever made
//! it. chronyd steps by a second or more (`makestep` in `chrony.conf`).
//!
//! I/O: [`Reading::now`] reads the clocks.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// Smallest step that is told from the time that reading two clocks takes.
const SMALLEST: Duration = Duration::from_millis(100);

/// How often to read until both clocks were read at almost the same time.
const TRIES: u32 = 10;
const CLOSE_ENOUGH: Duration = Duration::from_millis(1);

/// Both clocks at the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The time of day.
    pub(crate) time: SystemTime,
    /// The monotonic clock.
    pub(crate) monotonic: Instant,
    /// How far apart the two may have been read.
    pub(crate) uncertainty: Duration,
}

impl Reading {
    /// Reads the clocks.
    pub(crate) fn now() -> Self {
        let mut best = Self::once();
        for _ in 1..TRIES {
            if best.uncertainty <= CLOSE_ENOUGH {
                break;
            }
            let next = Self::once();
            if next.uncertainty < best.uncertainty {
                best = next;
            }
        }
        best
    }

    fn once() -> Self {
        let monotonic = Instant::now();
        let time = SystemTime::now();
        Self {
            time,
            monotonic,
            uncertainty: monotonic.elapsed(),
        }
    }
}

/// The clock was set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// By so many seconds; backwards if negative.
    pub(crate) seconds: f64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stepped by {:+.3} s", self.seconds)
    }
}

/// The clocks when last looked at.
#[derive(Debug)]
pub(super) struct Steps(Reading);

impl Steps {
    pub(super) fn since(reading: Reading) -> Self {
        Self(reading)
    }

    /// The step between the last reading and this one, if there was any.
    pub(super) fn observe(&mut self, reading: Reading) -> Option<Step> {
        let last = std::mem::replace(&mut self.0, reading);
        let passed = reading.monotonic.duration_since(last.monotonic);
        let expected = last.time.checked_add(passed)?;
        let (step, sign) = match reading.time.duration_since(expected) {
            Ok(forward) => (forward, 1.0),
            Err(backward) => (backward.duration(), -1.0),
        };
        let doubt = last.uncertainty.saturating_add(reading.uncertainty);
        (step >= SMALLEST.saturating_add(doubt)).then_some(Step {
            seconds: step.as_secs_f64() * sign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(reading: Reading, real: i64, monotonic: u64) -> Reading {
        let by = Duration::from_millis(real.unsigned_abs());
        Reading {
            time: if real < 0 {
                reading.time - by
            } else {
                reading.time + by
            },
            monotonic: reading.monotonic + Duration::from_millis(monotonic),
            uncertainty: Duration::ZERO,
        }
    }

    #[test]
    fn steps_of_either_direction_are_noticed_once() {
        let begin = Reading::now();
        let mut steps = Steps::since(Reading {
            uncertainty: Duration::ZERO,
            ..begin
        });
        let mut reading = begin;
        for (real, monotonic, expected) in [
            (1_000, 1_000, None),
            (30_099, 30_000, None),
            (29_901, 30_000, None),
            (31_500, 30_000, Some("stepped by +1.500 s")),
            (30_000, 30_000, None),
            (-5_000, 1_000, Some("stepped by -6.000 s")),
            (1_000, 1_000, None),
            (86_401_000, 1_000, Some("stepped by +86400.000 s")),
        ] {
            reading = later(reading, real, monotonic);
            let step = steps.observe(reading).map(|step| step.to_string());
            assert_eq!(step.as_deref(), expected, "{real} {monotonic}");
        }
    }

    #[test]
    fn slow_reading_is_no_step() {
        let begin = Reading::now();
        let mut steps = Steps::since(begin);
        let slow = Reading {
            uncertainty: Duration::from_secs(2),
            ..later(begin, 3_000, 1_000)
        };
        assert_eq!(steps.observe(slow), None);
        assert_eq!(Steps::since(begin).observe(slow), None);
    }

    #[test]
    fn this_machine_is_read() {
        let mut steps = Steps::since(Reading::now());
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(steps.observe(Reading::now()), None);
    }
}
