//! Environment files: `KEY=value` lines that systemd's `EnvironmentFile=` and a shell read alike.
//!
//! In double quotes both take a backslash before `"`, `\`, `$` and `` ` `` as an escape, before others
//! as itself. systemd drops a variable that holds control characters and refuses a file that holds
//! non-characters: none can be written.
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
    /// In or behind a value of the template.
    Value,
    /// Behind a tag.
    Tag,
}

impl Lexer {
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        for c in text.chars() {
            *self = match (*self, c) {
                (Self::Double { is_escaped: false }, '"') | (Self::Single, '\'') => Self::Value,
                (Self::Double { is_escaped }, _) => Self::Double {
                    is_escaped: c == '\\' && !is_escaped,
                },
                (Self::Single, _) => Self::Single,
                (_, '\n') => Self::Line,
                (Self::Line, '#' | ';') => Self::Comment,
                (Self::Line, c) if c.is_whitespace() => Self::Line,
                (Self::Line | Self::Key, '=') => Self::Expect,
                (Self::Line | Self::Key, _) => Self::Key,
                (Self::Expect | Self::Value, '"') => Self::Double { is_escaped: false },
                (Self::Expect | Self::Value, '\'') => Self::Single,
                (Self::Expect | Self::Value, _) => Self::Value,
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
