//! How long, and how often, a report is tried.
//!
//! I/O: draws a random number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Bounds on one report's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// For the wireserver to take a TCP connection.
    pub connect: Duration,
    /// For one request and its answer, connecting included.
    pub exchange: Duration,
    /// The pause after the first failure; each later one is twice as long as the one before, and up to
    /// half of it is left out by chance.
    pub pause: Duration,
    /// The longest of these pauses.
    pub longest_pause: Duration,
    /// The longest pause that the wireserver may ask for (`Retry-After`).
    pub longest_retry_after: Duration,
    /// From the first attempt to the beginning of the last.
    pub limit: Duration,
}

impl Default for Schedule {
    /// For Azure: 20 minutes, after which cloud-init gives up as well.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            exchange: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(5 * 60),
            limit: Duration::from_secs(20 * 60),
        }
    }
}

impl Schedule {
    /// The pause after this attempt, the first being 1, which began when `elapsed` of the time was over;
    /// `None` if it was the last. No pause goes beyond the limit: there is always a last attempt
    /// at its end.
    pub(crate) fn pause_after(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        elapsed: Duration,
    ) -> Option<Duration> {
        let rest = self.limit.checked_sub(elapsed)?;
        if rest.is_zero() {
            return None;
        }
        let doublings = attempt.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let pause = self.pause.saturating_mul(factor).min(self.longest_pause);
        let asked = retry_after.unwrap_or_default();
        let pause = jittered(pause).max(asked.min(self.longest_retry_after));
        Some(pause.min(rest))
    }
}

/// Between half of `pause` and all of it: machines that were started together must not report together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 1024).unwrap_or_default();
    let half = pause.checked_div(2).unwrap_or_default();
    let part = half.checked_div(1024).unwrap_or_default();
    half.saturating_add(part.saturating_mul(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let schedule = Schedule::default();
        for (attempt, longest) in [(1, 1), (2, 2), (5, 16), (6, 30), (33, 30), (u32::MAX, 30)] {
            let pause = schedule.pause_after(attempt, None, S(0)).unwrap();
            assert!(pause >= S(longest) / 2 && pause <= S(longest), "{pause:?}");
        }
        let pauses = (0..30).map(|_| schedule.pause_after(6, None, S(0)).unwrap());
        let different: std::collections::HashSet<_> = pauses.collect();
        assert!(different.len() > 5, "by chance: {different:?}");
    }

    #[test]
    fn the_wireserver_may_ask_for_longer_pauses_within_bounds() {
        let schedule = Schedule::default();
        let pause = |asked| schedule.pause_after(1, Some(S(asked)), S(0)).unwrap();
        assert!(pause(0) >= S(1) / 2 && pause(0) <= S(1));
        assert_eq!(pause(60), S(60));
        assert_eq!(pause(u64::MAX), S(300));
    }

    #[test]
    fn the_last_attempt_is_at_the_limit() {
        let schedule = Schedule::default();
        let pause = |elapsed| schedule.pause_after(99, Some(S(300)), elapsed);
        assert_eq!(pause(S(899)), Some(S(300)));
        assert_eq!(pause(S(1100)), Some(S(100)));
        assert_eq!(pause(S(1200)), None);
        assert_eq!(pause(S(9999)), None);
    }
}
