//! Environment files: `KEY=value` lines that systemd's `EnvironmentFile=` and a shell read alike.
//!
//! In double quotes both take a backslash before `"`, `\`, `$` and `` ` `` as an escape, before others
//! as itself. systemd drops a variable that holds control characters and refuses a file that holds
//! non-characters: none can be written.
//!
//! A bare value ends with its line, unless that ends in a backslash: then the next line is part of it,
//! whatever it looks like. A quote in the midst of one is itself to systemd and opens a string to a
//! shell. Templates have neither.
//!
//! I/O: none.

use serde_json::Value;

use super::{GLUED, Misplaced, NO_SLOT, Problem, Slot, write};

/// Where one is in an environment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lexer {
    #[default]
    Line,
    Comment,
    Key,
    /// Right behind `=`.
    Expect,
    Double {
        is_escaped: bool,
    },
    Single,
    /// In a value without quotes.
    Bare,
    /// Behind a backslash in or before one.
    BareEscape,
    /// Behind the quotes of a value of the template.
    Closed,
    /// Behind a tag.
    Tag,
}

const QUOTE: Misplaced = "a quote in the midst of a bare value is read in two ways: expected quotes around the whole value";
const CONTINUED: Misplaced =
    "a backslash at the end of a line makes the next one part of the value: expected none";

impl Lexer {
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        for c in text.chars() {
            *self = match (*self, c) {
                (Self::Double { is_escaped: false }, '"') | (Self::Single, '\'') => Self::Closed,
                (Self::Double { is_escaped }, _) => Self::Double {
                    is_escaped: c == '\\' && !is_escaped,
                },
                (Self::Single, _) => Self::Single,
                (Self::BareEscape, '\n' | '\r') => return Err(CONTINUED),
                (Self::BareEscape, _) => Self::Bare,
                (_, '\n') => Self::Line,
                (Self::Line, '#' | ';') => Self::Comment,
                (Self::Line, c) if c.is_whitespace() => Self::Line,
                (Self::Line | Self::Key, '=') => Self::Expect,
                (Self::Line | Self::Key, _) => Self::Key,
                (Self::Expect | Self::Closed, '"') => Self::Double { is_escaped: false },
                (Self::Expect | Self::Closed, '\'') => Self::Single,
                (Self::Bare, '"' | '\'') => return Err(QUOTE),
                (Self::Expect | Self::Closed | Self::Bare, '\\') => Self::BareEscape,
                (Self::Closed, c) if c.is_whitespace() => Self::Closed,
                (Self::Expect | Self::Closed | Self::Bare, _) => Self::Bare,
                (Self::Comment, _) => Self::Comment,
                (Self::Tag, c) if c.is_whitespace() => Self::Tag,
                (Self::Tag, _) => return Err(GLUED),
            };
        }
        Ok(())
    }

    pub(super) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self {
            Self::Expect => {
                *self = Self::Tag;
                Ok(Slot::Whole)
            }
            Self::Double { is_escaped: false } => Ok(Slot::Quoted),
            _ => Err(NO_SLOT),
        }
    }
}

pub(super) fn write(slot: Slot, value: &Value, out: &mut String) -> Result<(), Problem> {
    let mut text = String::new();
    write::line(value, &mut text)?;
    if text.chars().any(is_noncharacter) {
        return Err(Problem::Character);
    }
    let quote = if slot == Slot::Quoted { "" } else { "\"" };
    out.push_str(quote);
    for c in text.chars() {
        if "\"\\$`".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push_str(quote);
    Ok(())
}

/// Code points that Unicode reserves for no character.
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}
