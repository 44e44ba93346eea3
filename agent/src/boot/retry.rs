//! Trying for ever, ever more slowly.
//!
//! I/O: the clock; draws from the kernel's random number generator.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep};

use super::progress::Stage;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses between attempts: one second, doubled up to a minute, each shortened by up to a half, so
/// that nodes that lost the same hub don't all come back at once.
pub(super) struct Backoff {
    attempts: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// As the default, but up to longer pauses: for what costs much and seldom changes.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            attempts: 0,
            longest,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let doublings = self.attempts.min(16);
        self.attempts = self.attempts.saturating_add(1);
        let full = FIRST.saturating_mul(1 << doublings).min(self.longest);
        spread(full, 0.5)
    }
}

/// When each of several things that are tried beside each other may be tried again.
#[derive(Default)]
pub(super) struct Pauses(BTreeMap<String, (Backoff, Option<Instant>)>);

impl Pauses {
    pub(super) fn is_over(&self, name: &str) -> bool {
        let until = self.0.get(name).and_then(|(_, until)| *until);
        until.is_none_or(|until| until <= Instant::now())
    }

    /// It has failed, and pauses for this long.
    pub(super) fn failed(&mut self, name: &str) -> Duration {
        let (backoff, until) = self.0.entry(name.to_owned()).or_default();
        let pause = backoff.next();
        *until = Some(Instant::now() + pause);
        pause
    }

    pub(super) fn succeeded(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// A duration shortened by up to this share of it.
pub(super) fn spread(duration: Duration, share: f64) -> Duration {
    duration.mul_f64(1.0 - share * fraction())
}

/// Between 0 and 1. Without random numbers, nothing is spread.
fn fraction() -> f64 {
    let mut byte = [0];
    match SystemRandom::new().fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 256.0,
        Err(_) => 0.0,
    }
}

/// Attempts until one succeeds, and has `stage` say why not yet.
pub(super) async fn until_done<T>(
    stage: &mut Stage<'_>,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> T {
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                let pause = backoff.next();
                stage.waits(&error, pause);
                sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_no_longer() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let full = FIRST.saturating_mul(1 << index.min(16)).min(LONGEST);
            assert!(*pause <= full && *pause >= full / 2, "{index}: {pause:?}");
        }
    }
}
