//! What has changed between two short texts: words that went and words that came.
//!
//! I/O: none.

use std::collections::HashMap;

use serde::Serialize;

/// A piece of text that only one side has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// Only the first text has it.
    Removed(String),
    /// Only the second has it.
    Added(String),
}

impl Change {
    /// As in a patch.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Removed(text) => format!("- {text}"),
            Self::Added(text) => format!("+ {text}"),
        }
    }
}

/// Compares the words of two command lines; nothing if only their order or the space between them
/// differs.
pub(super) fn word_changes(a: &str, b: &str) -> Vec<Change> {
    changes(a.split_whitespace(), b.split_whitespace())
}

/// Compares two texts line by line; nothing if only the order of lines differs.
pub(super) fn line_changes(a: &str, b: &str) -> Vec<Change> {
    changes(a.lines(), b.lines())
}

/// The pieces that one side has more often than the other, each side's in its order.
fn changes<'t>(
    a: impl Iterator<Item = &'t str> + Clone,
    b: impl Iterator<Item = &'t str> + Clone,
) -> Vec<Change> {
    let removed = surplus(a.clone(), b.clone()).map(|text| Change::Removed(one_line(text)));
    let mut changes: Vec<_> = removed.collect();
    changes.extend(surplus(b, a).map(|text| Change::Added(one_line(text))));
    changes
}

/// What `pieces` has more of than `others`.
fn surplus<'t>(
    pieces: impl Iterator<Item = &'t str>,
    others: impl Iterator<Item = &'t str>,
) -> impl Iterator<Item = &'t str> {
    let mut counts = HashMap::<_, usize>::new();
    others.for_each(|piece| *counts.entry(piece).or_default() += 1);
    pieces.filter(move |piece| match counts.get_mut(piece) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    })
}

/// Text out of an image as part of a line, which it cannot end to pretend to be another: what is
/// neither printable ASCII nor a letter or digit is escaped.
pub(super) fn one_line(text: &str) -> String {
    let escape = |c: char| match c {
        ' '..='~' => c.to_string(),
        '→' => c.to_string(),
        c if !c.is_ascii() && c.is_alphanumeric() => c.to_string(),
        c => c.escape_default().to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(a: &str, b: &str) -> Vec<String> {
        word_changes(a, b).iter().map(Change::line).collect()
    }

    #[test]
    fn only_what_changed_is_named() {
        assert!(words("a  b c", "a b c ").is_empty());
        assert_eq!(words("a b c", "a x c"), ["- b", "+ x"]);
        assert_eq!(words("a b c", "b c d"), ["- a", "+ d"]);
        assert_eq!(words("", "quiet"), ["+ quiet"]);
        assert_eq!(words("ro quiet ro", "ro"), ["- quiet", "- ro"]);
        assert!(words("a b", "b a").is_empty());
    }

    #[test]
    fn lines_are_compared_whole() {
        let changes = line_changes("ID=a\nVERSION=1 2\n", "ID=a\nVERSION=1 3\n");
        let lines: Vec<_> = changes.iter().map(Change::line).collect();
        assert_eq!(lines, ["- VERSION=1 2", "+ VERSION=1 3"]);
    }

    #[test]
    fn texts_of_many_words_take_neither_time_nor_memory() {
        let many = |word: &str| format!("{word} ").repeat(100_000);
        assert_eq!(word_changes(&many("a"), &many("b")).len(), 200_000);
        assert_eq!(word_changes(&many("a"), &many("a")).len(), 0);
    }

    #[test]
    fn terminals_are_not_controlled() {
        assert_eq!(
            words("x", "\u{1b}[2J\u{202e}é"),
            ["- x", "+ \\u{1b}[2J\\u{202e}é"]
        );
    }
}
