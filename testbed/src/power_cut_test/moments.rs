//! Which moments the power is cut at.
//!
//! I/O: none.

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a refresh of a ready node, whose configuration has changed.
    Refresh,
    /// Of a boot of a machine that was ready before.
    Later,
    /// Of the first boot of a new machine.
    First,
}

impl Kind {
    /// The kind of the cut of this number, counted from 1.
    pub(super) fn of(number: u32) -> Self {
        match number % 4 {
            1 | 3 => Self::Refresh,
            2 => Self::Later,
            _ => Self::First,
        }
    }

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Later => "later-boot",
            Self::First => "first-boot",
        }
    }
}

/// Numbers between 0 and 1 that follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014), of which the
/// upper 53 bits are taken.
#[derive(Clone, Debug)]
pub(super) struct Moments(u64);

impl Moments {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_from_the_seed_and_are_everywhere() {
        let all = |seed| {
            let mut moments = Moments::new(seed);
            (0..1000).map(|_| moments.next()).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let inside = all(7)
                .into_iter()
                .filter(|it| (from..from + 0.1).contains(it));
            assert!((60..140).contains(&inside.count()), "{tenth}");
        }
    }

    #[test]
    fn every_kind_has_its_turn() {
        let kinds: Vec<_> = (1..=4).map(Kind::of).collect();
        let expected = [Kind::Refresh, Kind::Later, Kind::Refresh, Kind::First];
        assert_eq!(kinds, expected);
    }
}
