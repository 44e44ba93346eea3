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

/// Text from images, logs and published lists as part of a line of ours, which it cannot end to
/// pretend to be another one: as [`printable`], with line ends shown too.
pub(crate) fn one_line(text: &str) -> String {
    let ends_line = |c: char| matches!(c, '\n' | '\u{2028}' | '\u{2029}');
    let show = |c: char| match c {
        c if steers(c) || ends_line(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(show).collect()
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
    fn text_of_others_ends_no_line() {
        assert_eq!(one_line("caf\u{e9} … a"), "caf\u{e9} … a");
        assert_eq!(
            one_line("x\nequal\u{2028}\u{1b}[2J"),
            r"x\u000aequal\u2028\u001b[2J"
        );
    }

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
