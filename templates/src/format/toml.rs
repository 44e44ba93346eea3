//! TOML 1.0: where values stand in it.
//!
//! I/O: none.

use std::str::Chars;

use toml::{Table, Value};

use super::{GLUED, Misplaced, NO_SLOT, NotWellFormed, Slot, write};

const NO_TABLE: Misplaced =
    "behind a TOML document only a table's [header] or another document can stand";

/// Where one is in a TOML text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lexer {
    place: Place,
    in_comment: bool,
    /// The brackets that are open.
    open: Vec<char>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before a key, a header or nothing.
    #[default]
    Line,
    /// The same behind a document whose last table is not known.
    NextTable,
    Key,
    QuotedKey(char),
    Header,
    /// Before a value.
    Expect,
    /// In or behind a value of the template.
    Value,
    /// Behind a tag.
    Tag,
    Text {
        quote: char,
        is_multiline: bool,
        is_escaped: bool,
    },
}

impl Lexer {
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if self.in_comment && c != '\n' {
                continue;
            }
            self.in_comment = false;
            self.place = match self.place {
                Place::Line | Place::NextTable if c.is_whitespace() => self.place,
                Place::Line | Place::NextTable if c == '[' => Place::Header,
                Place::NextTable if c != '#' => return Err(NO_TABLE),
                Place::Key | Place::Expect | Place::Value | Place::Tag if "]}".contains(c) => {
                    self.open.pop();
                    Place::Value
                }
                Place::Expect | Place::Value | Place::Tag if c == ',' => match self.open.last() {
                    Some('{') => Place::Key,
                    _ => Place::Expect,
                },
                Place::Header | Place::Key | Place::Expect | Place::Value | Place::Tag
                    if c == '\n' && self.open.is_empty() =>
                {
                    Place::Line
                }
                Place::QuotedKey(quote) if c == quote => Place::Key,
                Place::QuotedKey(_) | Place::Header => self.place,
                Place::Text {
                    quote,
                    is_multiline,
                    is_escaped,
                } => in_text((quote, is_multiline, is_escaped), c, &mut chars),
                place if c == '#' => {
                    self.in_comment = true;
                    place
                }
                Place::Line | Place::NextTable | Place::Key => match c {
                    '"' | '\'' => Place::QuotedKey(c),
                    '=' => Place::Expect,
                    _ => Place::Key,
                },
                Place::Expect if c.is_whitespace() => Place::Expect,
                Place::Expect => match c {
                    '[' => {
                        self.open.push(c);
                        Place::Expect
                    }
                    '{' => {
                        self.open.push(c);
                        Place::Key
                    }
                    '"' | '\'' => Place::Text {
                        quote: c,
                        is_multiline: skip_two(c, &mut chars),
                        is_escaped: false,
                    },
                    _ => Place::Value,
                },
                Place::Tag if !c.is_whitespace() => return Err(GLUED),
                Place::Value | Place::Tag => self.place,
            };
        }
        Ok(())
    }

    pub(super) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self.place {
            _ if self.in_comment => Err(NO_SLOT),
            Place::Expect => {
                self.place = Place::Tag;
                Ok(Slot::Whole)
            }
            Place::Text {
                quote: '"',
                is_escaped: false,
                ..
            } => Ok(Slot::Quoted),
            _ => Err(NO_SLOT),
        }
    }

    pub(super) fn raw(&mut self) -> Result<Slot, Misplaced> {
        match self.place {
            Place::Line | Place::NextTable if !self.in_comment => {
                self.place = Place::NextTable;
                Ok(Slot::Document)
            }
            Place::Expect => self.value(),
            _ => Err(super::NO_RAW),
        }
    }

    /// A section of documents may have none.
    pub(super) fn join(&self, end: &Self) -> Option<Self> {
        let is_line = |lexer: &Self| {
            matches!(lexer.place, Place::Line | Place::NextTable) && !lexer.in_comment
        };
        (is_line(self) && is_line(end)).then(|| Self {
            place: Place::NextTable,
            ..Self::default()
        })
    }
}

/// The place behind a character of a string.
fn in_text(
    (quote, is_multiline, is_escaped): (char, bool, bool),
    c: char,
    chars: &mut Chars<'_>,
) -> Place {
    let is_end = !is_escaped && c == quote && (!is_multiline || skip_two(quote, chars));
    if is_end {
        // `""""` ends a string that ends in a quote.
        while is_multiline && skip(quote, chars) {}
        return Place::Value;
    }
    Place::Text {
        quote,
        is_multiline,
        is_escaped: c == '\\' && quote == '"' && !is_escaped,
    }
}

fn skip(quote: char, chars: &mut Chars<'_>) -> bool {
    let rest = chars.as_str().strip_prefix(quote);
    if let Some(rest) = rest {
        *chars = rest.chars();
    }
    rest.is_some()
}

fn skip_two(quote: char, chars: &mut Chars<'_>) -> bool {
    let mut ahead = chars.clone();
    let is_there = skip(quote, &mut ahead) && skip(quote, &mut ahead);
    if is_there {
        *chars = ahead;
    }
    is_there
}

/// Parses a document.
pub(super) fn parse(text: &str) -> Result<Table, NotWellFormed> {
    text.parse::<Table>().map_err(|error| {
        // Its own text shows the line.
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.unwrap_or_default().matches('\n').count();
        NotWellFormed {
            line: line.saturating_add(1),
        }
    })
}

/// Parses one value.
pub(super) fn parse_value(text: &str) -> Result<Value, NotWellFormed> {
    let mut table = parse(&format!("value = {}", text.trim()))?;
    let value = table.remove("value");
    // A second key would be an injection.
    match value {
        Some(value) if table.is_empty() => Ok(value),
        _ => Err(NotWellFormed { line: 1 }),
    }
}

/// Writes a value on one line.
pub(super) fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write::quoted(text, out),
        Value::Integer(number) => out.push_str(&number.to_string()),
        // `inf` and `nan` are TOML too.
        Value::Float(number) if number.is_nan() => out.push_str("nan"),
        Value::Float(number) => out.push_str(&write::float_text(*number)),
        Value::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Datetime(time) => out.push_str(&time.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Table(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { " " });
                write::quoted(key, out);
                out.push_str(" = ");
                write_value(member, out);
            }
            out.push_str(" }");
        }
    }
}
