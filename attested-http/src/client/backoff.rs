//! Patience with a server that cannot be reached.
//!
//! I/O: draws a random number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Whose failure it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    /// The server's, or the network's: pauses grow.
    Servers,
    /// This side's, which says nothing about the server: always the first pause.
    Own,
}

/// When to try again, and why not now.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    pause: Option<(Instant, Arc<str>)>,
}

impl Backoff {
    /// How long there is to wait yet, and what went wrong.
    pub(super) fn pausing(&self, now: Instant) -> Option<(Duration, Arc<str>)> {
        let (until, cause) = self.pause.as_ref()?;
        let rest = until.saturating_duration_since(now);
        (!rest.is_zero()).then(|| (rest, Arc::clone(cause)))
    }

    /// What went wrong last, unless it went well since.
    pub(super) fn cause(&self) -> Option<Arc<str>> {
        self.pause.as_ref().map(|(_, cause)| Arc::clone(cause))
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Tries that were made at the same time count as one. Says whether this was the first.
    pub(super) fn failed(
        &mut self,
        whose: Whose,
        cause: &str,
        (first, longest): (Duration, Duration),
        now: Instant,
    ) -> bool {
        if self.pausing(now).is_some() {
            return false;
        }
        let factor = match whose {
            Whose::Servers => 2u32.saturating_pow(self.failures.min(20)),
            Whose::Own => 1,
        };
        let pause = jittered(first.saturating_mul(factor).min(longest));
        if whose == Whose::Servers {
            self.failures = self.failures.saturating_add(1);
        }
        self.pause = now.checked_add(pause).map(|until| (until, cause.into()));
        true
    }
}

/// Between half of `pause` and all of it, so that clients do not come back in step.
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

    const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

    #[test]
    fn pauses_grow_to_a_bound_and_success_ends_them() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..30 {
            assert!(backoff.pausing(now).is_none());
            assert!(backoff.failed(Whose::Servers, "why", PAUSE, now));
            assert!(!backoff.failed(Whose::Servers, "at the same time", PAUSE, now));
            let (pause, cause) = backoff.pausing(now).unwrap();
            assert_eq!(&*cause, "why");
            pauses.push(pause);
            now += pause;
        }
        let ms = Duration::from_millis;
        assert!(pauses[0] >= ms(50) && pauses[0] <= ms(100), "{pauses:?}");
        assert!(pauses[2] >= ms(200) && pauses[2] <= ms(400), "{pauses:?}");
        assert!(
            pauses[29] >= ms(500) && pauses[29] <= ms(1000),
            "{pauses:?}"
        );
        let different: std::collections::HashSet<_> = pauses[10..].iter().collect();
        assert!(different.len() > 5, "by chance: {pauses:?}");
        backoff.succeeded();
        assert!(backoff.pausing(now).is_none() && backoff.cause().is_none());
    }

    #[test]
    fn own_failures_pause_for_a_moment_only() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        for whose in [[Whose::Own; 10], [Whose::Servers; 10], [Whose::Own; 10]].concat() {
            assert!(backoff.failed(whose, "why", PAUSE, now));
            let (pause, _) = backoff.pausing(now).unwrap();
            assert!(whose == Whose::Servers || pause <= PAUSE.0, "{pause:?}");
            now += pause;
        }
    }
}
