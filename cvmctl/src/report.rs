//! What a command has to say, before it is said.
//!
//! I/O: none.

use std::borrow::Cow;
use std::process::ExitCode;

/// A command's answer, to be printed on standard output, and what it means.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
}

/// Text from images, logs and machines may try to steer the terminal that it is shown on: control
/// characters but for line ends, and those that turn the direction of writing, are shown as `\uXXXX`,
/// which JSON reads as the same character.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            // All of them are below U+10000.
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those of Unicode's "Bidi_Control" property.
fn steers(character: char) -> bool {
    let is_control = character.is_control() && character != '\n';
    let is_bidi = matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_control || is_bidi
}

/// The three answers that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Trusted, equal, or simply printed.
    Good,
    /// Not trusted, or different.
    Bad,
    /// Neither can be said.
    Undecided,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::Bad => Self::from(1),
            Outcome::Undecided => Self::from(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        assert_eq!(printable("PCR 4\n caf\u{e9}\n"), "PCR 4\n caf\u{e9}\n");
        let hostile = "\u{1b}[2J\u{9b}1m\r\u{202e}";
        assert_eq!(printable(hostile), r"\u001b[2J\u009b1m\u000d\u202e");
        let json = serde_json::to_string(hostile).unwrap();
        let read: String = serde_json::from_str(&printable(&json)).unwrap();
        assert_eq!(read, hostile);
    }
}
