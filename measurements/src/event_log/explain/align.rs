//! Which event of a prediction is which event of a log.
//!
//! Events with equal digests are the same event, as many as possible in order; between these,
//! events of one kind are the same event with other contents; the rest is missing or added.
//!
//! I/O: none.

use std::ops::Range;

use super::{Bank, Expected, Observed};

/// Most pairs of events that are looked at: a prediction of 40 events and a log with 1600 in that
/// register. More is no boot.
const MAX_PAIRS: usize = 1 << 16;

/// What became of an event. Numbers are positions in the prediction, then in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Equal,
    Changed(usize, usize),
    Missing(usize),
    Added(usize),
}

/// Aligns all events, in order; `None` if there are too many.
pub(super) fn align(
    expected: &[Expected<'_>],
    observed: &[Observed<'_>],
    bank: Bank,
) -> Option<Vec<Step>> {
    let cells = expected.len().saturating_add(1);
    if cells.saturating_mul(observed.len().saturating_add(1)) > MAX_PAIRS {
        return None;
    }
    let is_same = |e: &Expected<'_>, o: &Observed<'_>| o.digest == Some(bank.pick(e.digests));
    let mut steps = Vec::new();
    let same = common(expected, observed, &is_same);
    let whole = (0..expected.len(), 0..observed.len());
    each_gap(whole, &same, |e, o, ends_in_pair| {
        let (e_events, o_events) = (slice(expected, &e), slice(observed, &o));
        let is_kind = |e: &Expected<'_>, o: &Observed<'_>| o.kind.is_of(&e.kind);
        let changed = common(e_events, o_events, &is_kind);
        let inner = (0..e.len(), 0..o.len());
        let (e_start, o_start) = (e.start, o.start);
        each_gap(inner, &changed, |e, o, ends_in_pair| {
            let at = |start: usize, offset: usize| start.saturating_add(offset);
            steps.extend(e.clone().map(|i| Step::Missing(at(e_start, i))));
            steps.extend(o.clone().map(|i| Step::Added(at(o_start, i))));
            if ends_in_pair {
                steps.push(Step::Changed(at(e_start, e.end), at(o_start, o.end)));
            }
        });
        if ends_in_pair {
            steps.push(Step::Equal);
        }
    });
    Some(steps)
}

fn slice<'a, T>(items: &'a [T], range: &Range<usize>) -> &'a [T] {
    items.get(range.clone()).unwrap_or_default()
}

/// Calls `each` with what lies before every pair, and at last with what lies after all of them.
fn each_gap(
    (whole_a, whole_b): (Range<usize>, Range<usize>),
    pairs: &[(usize, usize)],
    mut each: impl FnMut(Range<usize>, Range<usize>, bool),
) {
    let (mut a, mut b) = (whole_a.start, whole_b.start);
    for (pair_a, pair_b) in pairs {
        each(a..*pair_a, b..*pair_b, true);
        (a, b) = (pair_a.saturating_add(1), pair_b.saturating_add(1));
    }
    each(a..whole_a.end, b..whole_b.end, false);
}

/// Compares two lists of words: those only the old has (`Err`) and those only the new has (`Ok`),
/// in order.
pub(super) fn word_changes<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Result<&'a str, &'a str>> {
    let same = common(old, new, &|a, b| a == b);
    let mut changes = Vec::new();
    each_gap((0..old.len(), 0..new.len()), &same, |gone, come, _| {
        changes.extend(slice(old, &gone).iter().copied().map(Err));
        changes.extend(slice(new, &come).iter().copied().map(Ok));
    });
    changes
}

/// The longest common subsequence, as pairs of positions; of several, the one that pairs what is
/// last: programs that a boot adds (boot loaders, shim) come before what they start.
fn common<A, B>(a: &[A], b: &[B], is_pair: &dyn Fn(&A, &B) -> bool) -> Vec<(usize, usize)> {
    // lengths[i][j]: of the first i and the first j.
    let mut lengths: Vec<Vec<usize>> = vec![vec![0; b.len().saturating_add(1)]];
    for item in a {
        let above = lengths.last().cloned().unwrap_or_default();
        let mut row = vec![0];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(0);
            let next = j.saturating_add(1);
            let longer = if is_pair(item, other) {
                at(&above, j).saturating_add(1)
            } else {
                at(&above, next).max(at(&row, j))
            };
            row.push(longer);
        }
        lengths.push(row);
    }
    let length = |i: usize, j: usize| lengths.get(i).and_then(|row| row.get(j)).copied();
    let mut pairs = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while let (Some(before_i), Some(before_j)) = (i.checked_sub(1), j.checked_sub(1)) {
        let both = a.get(before_i).zip(b.get(before_j));
        if both.is_some_and(|(a, b)| is_pair(a, b)) {
            pairs.push((before_i, before_j));
            (i, j) = (before_i, before_j);
        } else if length(before_i, j) >= length(i, before_j) {
            i = before_i;
        } else {
            j = before_j;
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(a: &str, b: &str) -> Vec<(usize, usize)> {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        common(&a, &b, &|a, b| a == b)
    }

    #[test]
    fn longest_common_subsequence_is_found() {
        assert_eq!(pairs("abcd", "abcd"), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(pairs("abcd", "xbyd"), [(1, 1), (3, 3)]);
        assert_eq!(pairs("", "abc"), []);
        assert_eq!(pairs("abc", "cab"), [(0, 1), (1, 2)]);
    }

    #[test]
    fn of_equal_ones_the_last_are_paired() {
        assert_eq!(pairs("a", "aaa"), [(0, 2)]);
        assert_eq!(pairs("aa", "aaa"), [(0, 1), (1, 2)]);
    }

    #[test]
    fn gaps_are_what_is_between_pairs() {
        let mut gaps = Vec::new();
        each_gap((0..3, 0..4), &[(1, 0), (2, 3)], |a, b, pair| {
            gaps.push((a, b, pair))
        });
        assert_eq!(
            gaps,
            [(0..1, 0..0, true), (2..2, 1..3, true), (3..3, 4..4, false)]
        );
    }
}
