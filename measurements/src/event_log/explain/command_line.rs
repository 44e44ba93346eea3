//! What differs between two command lines, if the one that was used can be found.
//!
//! Logs have a command line's digest, and never the text that belongs to it. But texts are at hand:
//! what add-ons and load options brought (logged by the stub), what the machine says it was booted
//! with. The one whose digest was measured is the one that was used.
//!
//! I/O: none.

use std::fmt::Write;

use super::super::meaning::text;
use super::super::{Escaped, EventLog, Meaning};
use super::Logs;
use crate::reference::RegisterValue;

/// Most texts of a log that are tried.
const MAX_TEXTS: usize = 64;
/// Longest text of a log that is tried, in bytes of its event: x86 Linux takes 2048 characters of a
/// command line.
const MAX_TEXT_SIZE: usize = 64 << 10;
/// Most words of a command line that are compared one by one.
const MAX_WORDS: usize = 1024;

/// Returns the command line that has this digest, out of those that are at hand.
pub(super) fn find(logs: &Logs<'_>, expected: &str, digest: RegisterValue) -> Option<String> {
    let given = logs.command_lines.iter().cloned();
    let logged = texts(logs.firmware).flat_map(|text| {
        // Add-ons are appended; load options replace.
        let appended = format!("{expected} {text}");
        [text, appended]
    });
    given
        .chain(logged)
        .find(|text| is_load_options(logs, text, digest))
}

/// Whether the digest is the one that Linux measures for a command line: UTF-16 with a NUL.
fn is_load_options(logs: &Logs<'_>, text: &str, digest: RegisterValue) -> bool {
    let with_nul = [text::utf16(text).as_slice(), &[0, 0]].concat();
    logs.bank.digest(&with_nul) == digest
}

/// Texts of boot loader and stub.
fn texts(log: &EventLog) -> impl Iterator<Item = String> {
    let events = log.events.iter();
    let events = events.filter(|event| event.data.len() <= MAX_TEXT_SIZE);
    let meanings = events.map(|event| event.meaning());
    let texts = meanings.filter_map(|meaning| match meaning {
        Meaning::Text(text) => Some(text),
        _ => None,
    });
    texts.take(MAX_TEXTS)
}

/// Says which words differ: `- quiet + debug`, escaped.
pub(super) fn difference(expected: &str, actual: &str) -> String {
    let (old, new) = (words(expected), words(actual));
    if old.len().max(new.len()) > MAX_WORDS {
        return format!("- {} + {}", Escaped(expected), Escaped(actual));
    }
    if old == new {
        return "in white space only".to_owned();
    }
    let mut text = String::new();
    for change in super::align::word_changes(&old, &new) {
        // Writing to a string cannot fail.
        let _ = match change {
            Err(word) => write!(text, " - {}", Escaped(word)),
            Ok(word) => write!(text, " + {}", Escaped(word)),
        };
    }
    text.trim_start().to_owned()
}

/// Splits as Linux does: at white space that is not between double quotes.
fn words(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c: char| {
        is_quoted ^= c == '"';
        c.is_ascii_whitespace() && !is_quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_words_are_named_in_their_order() {
        assert_eq!(difference("a quiet b", "a debug b"), "- quiet + debug");
        assert_eq!(difference("a b", "a b c=\"d e\""), "+ c=\"d e\"");
        assert_eq!(difference("a b c", "b c a"), "- a + a");
        assert_eq!(difference("a b", ""), "- a - b");
        assert_eq!(difference("a  b", "a b"), "in white space only");
        assert_eq!(difference("a", "a \u{1b}[2J"), "+ \\u{1b}[2J");
    }
}
