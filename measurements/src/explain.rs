//! Explains by which events a register differs from what was expected.
//!
//! I/O: none.

use std::fmt;

use crate::event_log::Bank;
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

impl Difference {
    /// The difference in words, with the digests of a bank: one line, or three. Control characters
    /// of what was measured are escaped, so that it ends no line.
    pub fn in_bank(&self, bank: Bank) -> String {
        let digest = |event: &Event| bank.pick(event.digests);
        let words = |event: &Event| one_line(&event.to_string());
        match self {
            Self::Changed { expected, actual } => format!(
                "{} differs:\n  expected {} ({})\n  actual   {} ({})",
                one_line(&actual.subject),
                digest(expected),
                words(expected),
                digest(actual),
                words(actual)
            ),
            Self::Missing { expected } => {
                format!("event missing: {} ({})", digest(expected), words(expected))
            }
            Self::Added { actual } => {
                format!("event added: {} ({})", digest(actual), words(actual))
            }
        }
    }
}

/// In the SHA-256 bank.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_bank(Bank::Sha256))
    }
}

fn one_line(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
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
    fn words_of_an_event_end_no_line_and_digests_are_of_the_bank() {
        let mut actual = events(&[("a\nb", 1)]).remove(0);
        actual.detail = "c\nd".to_owned();
        let digests = actual.digests;
        let added = Difference::Added { actual };
        assert_eq!(added.to_string().lines().count(), 1, "{added}");
        assert!(added.to_string().contains(&digests.sha256.to_string()));
        let in_sha384 = added.in_bank(Bank::Sha384);
        assert!(
            in_sha384.contains(&digests.sha384.to_string()),
            "{in_sha384}"
        );
        assert!(!in_sha384.contains(&digests.sha256.to_string()));
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
