//! How long, and how often, something is tried.
//!
//! I/O: none.

use std::time::Duration;

/// How long one try may take, how many there are, and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest that one try may take.
    pub limit: Duration,
    /// How often to try, the first time included.
    pub tries: u32,
    /// The pause after the first try; each later one is twice as long as the one before.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Patience {
    /// The pause after this try, the first being 1; `None` if it was the last.
    pub(crate) fn pause_after(&self, tried: u32) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let doublings = tried.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(self.pause.saturating_mul(factor).min(self.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let patience = Patience {
            limit: Duration::ZERO,
            tries: 5,
            pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(50),
        };
        let pauses: Vec<_> = (1..=6).map(|tried| patience.pause_after(tried)).collect();
        let expected = [Some(20), Some(40), Some(50), Some(50), None, None];
        assert_eq!(
            pauses,
            expected.map(|pause| pause.map(Duration::from_millis))
        );
        let endless = Patience {
            tries: u32::MAX,
            ..patience
        };
        assert_eq!(
            endless.pause_after(1_000_000),
            Some(Duration::from_millis(50))
        );
    }
}
