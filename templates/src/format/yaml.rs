//! YAML: where values stand in it.
//!
//! Block scalars, plain and single-quoted scalars, anchors and tags have no slots. What the lexer takes
//! for a block scalar may be none, never the other way round; and a value is always one line of JSON,
//! so that even there it would be nothing but text.
//!
//! I/O: none.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser};

use super::{GLUED, Misplaced, NO_SLOT, NotWellFormed, Slot};

/// Deepest that documents nest.
const DEPTH_LIMIT: usize = 64;

/// Where one is in a YAML text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lexer {
    place: Place,
    /// Brackets that are open.
    open: Vec<char>,
    /// Column in the line, from 0.
    column: usize,
    /// Column of the last item or key that began in this line.
    parent: usize,
    /// The parent's column, in or behind a block scalar.
    block: Option<usize>,
    /// The least column at which a line would continue the last plain scalar.
    from: usize,
    /// The same, if the last line ended in one.
    continued: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// In a line's indentation.
    #[default]
    Line,
    /// Behind a `-` that may be an item's.
    Dash,
    /// Behind the `-` of an item: before a value or a key.
    Item,
    /// In a key or a plain scalar.
    Plain,
    /// Behind a `:` that may be a key's.
    Colon,
    /// Before a value.
    Expect,
    /// Before a key, in braces.
    Key,
    Double {
        is_escaped: bool,
        /// It is where a value is, not at the begin of a line, where it would be a key.
        is_value: bool,
        /// There is a tag in it.
        has_tag: bool,
    },
    Single,
    /// Behind a `'` that may be half of an escape.
    SingleEnd,
    /// Behind quotes or brackets.
    End,
    /// Behind a tag.
    Tag,
    /// Behind `|` or `>`.
    BlockHeader,
    /// In a block scalar, or a line that continues a plain one.
    Block,
    Comment,
}

impl Lexer {
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        for c in text.chars() {
            if c == '\n' {
                self.end_line();
            } else {
                self.place = self.next(c)?;
                self.column = self.column.saturating_add(1);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        if self.place == Place::BlockHeader {
            self.block = Some(self.parent);
        }
        self.continued = match self.place {
            Place::Plain if self.open.is_empty() => Some(self.from),
            Place::Line => self.continued,
            Place::Block if self.block.is_none() => self.continued,
            _ => None,
        };
        self.column = 0;
        self.place = match self.place {
            // A backslash before the line's end belongs to that end.
            Place::Double {
                is_value, has_tag, ..
            } => Place::Double {
                is_escaped: false,
                is_value,
                has_tag,
            },
            Place::Single => Place::Single,
            // Brackets go on over lines; a comment does not.
            Place::Comment if !self.open.is_empty() => self.next_member(),
            Place::Colon if !self.open.is_empty() => Place::Expect,
            place if !self.open.is_empty() => place,
            _ => Place::Line,
        };
    }

    fn next(&mut self, c: char) -> Result<Place, Misplaced> {
        let is_blank = matches!(c, ' ' | '\t' | '\r');
        Ok(match self.place {
            Place::Line if is_blank => Place::Line,
            Place::Line if self.block.is_some_and(|parent| self.column > parent) => Place::Block,
            // Whatever it looks like.
            Place::Line if self.continued.is_some_and(|from| self.column >= from) => {
                self.block = None;
                Place::Block
            }
            Place::Line | Place::Item if !is_blank => {
                self.block = None;
                self.from = match self.place {
                    Place::Item => self.parent.saturating_add(1),
                    _ => self.column.saturating_add(1),
                };
                if c == '-' {
                    self.parent = self.column;
                    Place::Dash
                } else if matches!(c, '|' | '>') {
                    Place::BlockHeader
                } else {
                    // If it is a key, it is what a block scalar is indented from.
                    self.parent = self.column;
                    self.begin(c)
                }
            }
            Place::Dash if is_blank => Place::Item,
            Place::Dash => Place::Plain,
            Place::Colon if is_blank => Place::Expect,
            Place::Item | Place::Expect | Place::Key if is_blank => self.place,
            Place::Expect if self.open.is_empty() && matches!(c, '|' | '>') => Place::BlockHeader,
            Place::Expect | Place::Key if c == ',' && !self.open.is_empty() => self.next_member(),
            Place::Expect | Place::Key if c == ']' || c == '}' => self.close(),
            Place::Key if c == ':' => Place::Colon,
            Place::Expect | Place::Key => {
                self.from = self.parent.saturating_add(1);
                self.begin(c)
            }
            Place::SingleEnd if c == '\'' => Place::Single,
            Place::Line
            | Place::Item
            | Place::Plain
            | Place::Colon
            | Place::End
            | Place::SingleEnd => match c {
                ':' => Place::Colon,
                ',' if !self.open.is_empty() => self.next_member(),
                ']' | '}' if !self.open.is_empty() => self.close(),
                '#' => Place::Comment,
                _ if is_blank && self.place != Place::Plain => Place::End,
                _ => Place::Plain,
            },
            Place::Double {
                is_escaped: false,
                has_tag,
                ..
            } if c == '"' => {
                if has_tag {
                    Place::Tag
                } else {
                    Place::End
                }
            }
            Place::Double {
                is_escaped,
                is_value,
                has_tag,
            } => Place::Double {
                is_escaped: c == '\\' && !is_escaped,
                is_value,
                has_tag,
            },
            Place::Single if c == '\'' => Place::SingleEnd,
            Place::Tag if is_blank => Place::Tag,
            Place::Tag => match c {
                ',' if !self.open.is_empty() => self.next_member(),
                ']' | '}' if !self.open.is_empty() => self.close(),
                '#' => Place::Comment,
                // Anything else, `:` above all, would make it something else than a value.
                _ => return Err(GLUED),
            },
            Place::Single | Place::BlockHeader | Place::Block | Place::Comment => self.place,
        })
    }

    /// At a scalar's or a collection's first character.
    fn begin(&mut self, c: char) -> Place {
        match c {
            '"' => Place::Double {
                is_escaped: false,
                is_value: matches!(self.place, Place::Expect | Place::Item),
                has_tag: false,
            },
            '\'' => Place::Single,
            '[' | '{' => {
                self.open.push(c);
                self.next_member()
            }
            '#' => Place::Comment,
            _ => Place::Plain,
        }
    }

    fn close(&mut self) -> Place {
        self.open.pop();
        Place::End
    }

    /// What is next in the innermost brackets.
    fn next_member(&self) -> Place {
        match self.open.last() {
            Some('{') => Place::Key,
            _ => Place::Expect,
        }
    }

    pub(super) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self.place {
            Place::Expect | Place::Item => {
                self.place = Place::Tag;
                Ok(Slot::Whole)
            }
            Place::Double {
                is_escaped: false,
                is_value: true,
                ..
            } => {
                self.place = Place::Double {
                    is_escaped: false,
                    is_value: true,
                    has_tag: true,
                };
                Ok(Slot::Quoted)
            }
            Place::Colon => Err("expected a space between the colon and the tag"),
            _ => Err(NO_SLOT),
        }
    }

    /// At the begin of a line; behind a section that ends in a scalar, as if it were in it.
    pub(super) fn join(&self, end: &Self) -> Option<Self> {
        let is_line =
            |lexer: &Self| lexer.place == Place::Line && lexer.column == 0 && lexer.open.is_empty();
        (is_line(self) && is_line(end)).then(|| Self {
            block: [self.block, end.block].into_iter().flatten().min(),
            continued: [self.continued, end.continued].into_iter().flatten().min(),
            ..Self::default()
        })
    }
}

/// Parses documents; a scalar that is the key of a mapping twice is an error. Aliases are not expanded.
pub(super) fn parse(text: &str) -> Result<(), NotWellFormed> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Collection> = Vec::new();
    let mut last = 1;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| NotWellFormed {
            line: error.marker().line().max(1),
        })?;
        last = last.max(span.start.line());
        let wrong = NotWellFormed { line: last };
        let scalar = match &event {
            Event::Scalar(text, ..) => Some(Some(text.as_ref())),
            Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..) => Some(None),
            _ => None,
        };
        let passed = scalar.zip(open.last_mut());
        if passed.is_some_and(|(scalar, parent)| parent.is_repeated(scalar)) {
            return Err(wrong);
        }
        match event {
            Event::SequenceStart(..) => open.push(Collection::default()),
            Event::MappingStart(..) => open.push(Collection::mapping()),
            Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
            _ => {}
        }
        if open.len() > DEPTH_LIMIT {
            return Err(wrong);
        }
    }
    Ok(())
}

/// A collection that is being read.
#[derive(Default)]
struct Collection {
    /// The keys so far, if it is a mapping.
    keys: Option<HashSet<String>>,
    is_value_next: bool,
}

impl Collection {
    fn mapping() -> Self {
        Self {
            keys: Some(HashSet::new()),
            is_value_next: false,
        }
    }

    /// Passes a member; true if it is a key that was there.
    fn is_repeated(&mut self, scalar: Option<&str>) -> bool {
        let Some(keys) = &mut self.keys else {
            return false;
        };
        let is_key = !self.is_value_next;
        self.is_value_next = is_key;
        match scalar {
            // The merge key may be there several times.
            Some(key) if is_key && key != "<<" => !keys.insert(key.to_owned()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_documents_have_unique_keys() {
        for text in [
            "",
            "a: 1\nb: [1, {c: d}]\n---\na: 2\n",
            "- a: 1\n- a: 2\n",
            "a: &x 1\nb: *x\n",
        ] {
            assert_eq!(parse(text), Ok(()), "{text}");
        }
        for (text, line) in [
            ("a: 1\na: 2\n", 2),
            ("- x\n- b: {c: 1, c: 2}\n", 2),
            ("a: [1\n", 2),
            ("a: \"b\n", 1),
            ("a: b: c\n", 1),
        ] {
            assert_eq!(parse(text), Err(NotWellFormed { line }), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }
}
