//! Explains by which events a register differs from what was expected.
//!
//! I/O: none.

use std::fmt;

use crate::{Event, Prediction, Register};

/// One difference between two lists of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Both measure the same thing, with another result.
    Changed {
        /// What it should have been.
        expected: Event,
        /// What it is.
        actual: Event,
    },
    /// Something is not measured.
    Missing {
        /// What should have been.
        expected: Event,
    },
    /// Something more is measured.
    Added {
        /// What should not have been.
        actual: Event,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { expected, actual } => {
                writeln!(f, "{} differs:", actual.subject)?;
                writeln!(f, "  expected {} ({expected})", expected.digests.sha256)?;
                write!(f, "  actual   {} ({actual})", actual.digests.sha256)
            }
            Self::Missing { expected } => {
                write!(f, "event missing: {} ({expected})", expected.digests.sha256)
            }
            Self::Added { actual } => {
                write!(f, "event added: {} ({actual})", actual.digests.sha256)
            }
        }
    }
}

/// Compares the events of every register of two predictions; each difference comes with its
/// register's index. Nothing if the predictions are equal.
pub fn differences(expected: &Prediction, actual: &Prediction) -> Vec<(u8, Difference)> {
    let empty = Register::from_events(Vec::new());
    let mut registers: Vec<u8> = expected
        .registers
        .keys()
        .chain(actual.registers.keys())
        .copied()
        .collect();
    registers.sort_unstable();
    registers.dedup();
    let of = |prediction: &Prediction, index: &u8| {
        prediction
            .registers
            .get(index)
            .unwrap_or(&empty)
            .events
            .clone()
    };
    registers
        .into_iter()
        .flat_map(|index| {
            let differences = event_differences(&of(expected, &index), &of(actual, &index));
            differences
                .into_iter()
                .map(move |difference| (index, difference))
        })
        .collect()
}

/// Compares two lists of events, in order. Events are of one kind if they have one subject.
pub fn event_differences(expected: &[Event], actual: &[Event]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (mut expected, mut actual) = (expected, actual);
    loop {
        match (expected.split_first(), actual.split_first()) {
            (None, None) => return differences,
            (Some((want, rest)), Some((got, rest_actual))) if want.subject == got.subject => {
                if want.digests != got.digests {
                    let (expected, actual) = (want.clone(), got.clone());
                    differences.push(Difference::Changed { expected, actual });
                }
                (expected, actual) = (rest, rest_actual);
            }
            // What comes later on the other side was only moved back by something added before it.
            (Some((want, _)), Some((got, rest))) if has_subject(actual, &want.subject) => {
                differences.push(Difference::Added {
                    actual: got.clone(),
                });
                actual = rest;
            }
            (None, Some((got, rest))) => {
                differences.push(Difference::Added {
                    actual: got.clone(),
                });
                actual = rest;
            }
            (Some((want, rest)), _) => {
                differences.push(Difference::Missing {
                    expected: want.clone(),
                });
                expected = rest;
            }
        }
    }
}

fn has_subject(events: &[Event], subject: &str) -> bool {
    events.iter().any(|event| event.subject == subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digests;

    fn events(list: &[(&str, u8)]) -> Vec<Event> {
        let event = |(subject, byte): &(&str, u8)| Event::new(Digests::of(&[*byte]), *subject);
        list.iter().map(event).collect()
    }

    fn lines(expected: &[(&str, u8)], actual: &[(&str, u8)]) -> Vec<String> {
        let differences = event_differences(&events(expected), &events(actual));
        let first_words = |d: Difference| d.to_string().split(" (").next().unwrap().to_owned();
        differences
            .into_iter()
            .map(first_words)
            .map(|l| l.chars().take(24).collect())
            .collect()
    }

    #[test]
    fn equal_lists_have_no_difference() {
        assert!(lines(&[("a", 1), ("b", 2)], &[("a", 1), ("b", 2)]).is_empty());
        assert!(lines(&[], &[]).is_empty());
    }

    #[test]
    fn changed_missing_and_added_are_told_apart() {
        let base = [("a", 1), ("b", 2), ("c", 3)];
        assert!(lines(&base, &[("a", 1), ("b", 9), ("c", 3)])[0].starts_with("b differs"));
        let missing = event_differences(&events(&base), &events(&[("a", 1), ("c", 3)]));
        assert_eq!(
            missing,
            [Difference::Missing {
                expected: events(&base)[1].clone()
            }]
        );
        let added = event_differences(&events(&[("a", 1), ("c", 3)]), &events(&base));
        assert_eq!(
            added,
            [Difference::Added {
                actual: events(&base)[1].clone()
            }]
        );
        let at_end = event_differences(&events(&base), &events(&base[..2]));
        assert_eq!(
            at_end,
            [Difference::Missing {
                expected: events(&base)[2].clone()
            }]
        );
    }
}
