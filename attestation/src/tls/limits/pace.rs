//! A rate with a burst, as one instant of state (the generic cell rate algorithm).
//!
//! I/O: none.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// So many per second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    interval: Duration,
    tolerance: Duration,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once (at least one).
    pub fn new(per_second: NonZeroU32, burst: u32) -> Self {
        let nanos = 1_000_000_000_u64.checked_div(u64::from(per_second.get()));
        let interval = Duration::from_nanos(nanos.unwrap_or_default());
        Self {
            interval,
            tolerance: interval.saturating_mul(burst.saturating_sub(1)),
        }
    }
}

/// What was taken of a [`Rate`] so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When the next one were due if all had come at even distances.
    due: Option<Instant>,
}

impl Pace {
    /// The time before which nothing may be taken; `None` if it may be now.
    pub(super) fn not_before(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let at = self.due?.checked_sub(rate.tolerance)?;
        (at > now).then_some(at)
    }

    /// Takes one now.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) {
        let from = self.due.map_or(now, |due| due.max(now));
        self.due = Some(from.checked_add(rate.interval).unwrap_or(from));
    }

    /// Whether what was taken still counts.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_even_distances() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), 3);
        let start = Instant::now() + Duration::from_secs(3600);
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert_eq!(pace.not_before(rate, start), None);
            pace.take(rate, start);
        }
        let next = start + Duration::from_millis(100);
        assert_eq!(pace.not_before(rate, start), Some(next));
        assert_eq!(pace.not_before(rate, next), None);
        pace.take(rate, next);
        assert!(pace.not_before(rate, next).is_some());
        let rested = next + Duration::from_millis(300);
        assert!(!pace.is_behind(rested));
    }

    #[test]
    fn a_burst_of_nothing_is_one() {
        let rate = Rate::new(NonZeroU32::MIN, 0);
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.not_before(rate, now), None);
        pace.take(rate, now);
        assert!(pace.not_before(rate, now).is_some());
    }
}
