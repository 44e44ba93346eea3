//! HAProxy's configuration: a line's first word is a keyword or begins a section, the rest are its
//! arguments.
//!
//! HAProxy reads languages of its own inside an argument (`%[…]`, `${…}`, `fetch,converter(…)`), which no
//! quotes switch off. So a value is written as it is, of characters that begin none of them.
//!
//! I/O: none.

use serde_json::Value;

use super::{Misplaced, NO_SLOT, Problem, Slot, write};

/// Where one is in HAProxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lexer {
    #[default]
    Line,
    Keyword,
    Arguments {
        is_escaped: bool,
    },
    Double {
        is_escaped: bool,
    },
    Single,
    Comment,
}

impl Lexer {
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            let is_escaped = c == '\\';
            *self = match (*self, c) {
                (_, '\n') => Self::Line,
                (Self::Comment | Self::Line, '#') => Self::Comment,
                (Self::Comment, _) => Self::Comment,
                (Self::Line, c) if c.is_whitespace() => Self::Line,
                (Self::Keyword, c) if c.is_whitespace() => Self::Arguments { is_escaped: false },
                (Self::Line | Self::Keyword, _) => Self::Keyword,
                (Self::Arguments { is_escaped: false }, '#') => Self::Comment,
                (Self::Arguments { is_escaped: false }, '"') => Self::Double { is_escaped: false },
                (Self::Arguments { is_escaped: false }, '\'') => Self::Single,
                (Self::Arguments { is_escaped: was }, _) => Self::Arguments {
                    is_escaped: is_escaped && !was,
                },
                (Self::Double { is_escaped: false }, '"') | (Self::Single, '\'') => {
                    Self::Arguments { is_escaped: false }
                }
                (Self::Double { is_escaped: was }, _) => Self::Double {
                    is_escaped: is_escaped && !was,
                },
                (Self::Single, _) => Self::Single,
            };
        }
    }

    pub(super) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self {
            Self::Arguments { is_escaped: false } => Ok(Slot::Whole),
            Self::Double { is_escaped: false } => Ok(Slot::Quoted),
            _ => Err(NO_SLOT),
        }
    }
}

pub(super) fn write(slot: Slot, value: &Value, out: &mut String) -> Result<(), Problem> {
    let text = write::single(value)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/*[]".contains(c);
    if text.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    if !text
        .chars()
        .all(|c| is_plain(c) || (c == ' ' && slot == Slot::Quoted))
    {
        return Err(Problem::Character);
    }
    // An option's name would take the next word for its argument.
    if text.starts_with('-') {
        return Err(Problem::Character);
    }
    // Nothing where a word stands would make the next word take its place.
    if text.is_empty() && slot != Slot::Quoted {
        return Err(Problem::Empty);
    }
    out.push_str(&text);
    Ok(())
}
