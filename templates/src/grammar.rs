//! Mustache's grammar, which the strict and the existing templates share.
//!
//! Sections, inverted sections, variables, comments and other delimiters; a line on which nothing
//! stands but one tag (a variable apart) is not rendered. Follows the Mustache specification.
//!
//! Left out: partials, blocks and parents, which are refused.
//!
//! I/O: none.

/// Deepest that sections nest. Where a section ends may change how its body is read: each level may be
/// read twice.
const DEPTH_LIMIT: usize = 8;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// What is written as it is.
    Text(String),
    /// `{{name}}`, or raw `{{{name}}}` or `{{&name}}`.
    Variable {
        name: String,
        raw: bool,
        line: usize,
    },
    /// `{{#name}}…{{/name}}`, or inverted `{{^name}}…{{/name}}`.
    Section {
        name: String,
        inverted: bool,
        body: Vec<Node>,
        line: usize,
    },
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A tag is not closed.
    #[error("expected {expected:?}, which closes the tag")]
    UnclosedTag {
        /// What closes it.
        expected: String,
    },
    /// A section is not closed.
    #[error("the section {name:?} is not closed")]
    UnclosedSection {
        /// The section.
        name: String,
    },
    /// A closing tag closes nothing, or another section.
    #[error("expected the end of {expected:?}, got {actual:?}")]
    WrongEnd {
        /// The innermost open section, empty if none is.
        expected: String,
        /// What is closed.
        actual: String,
    },
    /// Partials, blocks and parents.
    #[error("other templates cannot be included: {tag:?}")]
    Include {
        /// What the tag says.
        tag: String,
    },
    /// Delimiters are two words without `=`.
    #[error("expected two delimiters, got {actual:?}")]
    Delimiters {
        /// What is there.
        actual: String,
    },
    /// Not a name.
    #[error("{name:?} is not the name of a value here")]
    Name {
        /// What is there.
        name: String,
    },
    /// Sections nest too deeply, or the template is too large.
    #[error(
        "expected at most {DEPTH_LIMIT} sections in each other and {} bytes",
        crate::TEMPLATE_LIMIT
    )]
    TooLarge,
}

/// A section that is not closed yet.
struct Open {
    name: String,
    inverted: bool,
    line: usize,
    /// What stood before it.
    before: Vec<Node>,
}

/// Parses a template.
///
/// # Errors
///
/// With the line, counted from 1.
pub(crate) fn parse(source: &str) -> Result<Vec<Node>, (usize, SyntaxError)> {
    let mut parser = Parser {
        rest: source,
        line: 1,
        delimiters: ("{{".to_owned(), "}}".to_owned()),
        is_line_blank: true,
        nodes: Vec::new(),
        open: Vec::new(),
    };
    if source.len() > crate::TEMPLATE_LIMIT {
        return Err((1, SyntaxError::TooLarge));
    }
    while parser.step().map_err(|error| (parser.line, error))? {}
    match parser.open.pop() {
        None => Ok(parser.nodes),
        Some(Open { name, line, .. }) => Err((line, SyntaxError::UnclosedSection { name })),
    }
}

struct Parser<'s> {
    rest: &'s str,
    line: usize,
    delimiters: (String, String),
    /// Nothing but white space so far on this line.
    is_line_blank: bool,
    nodes: Vec<Node>,
    open: Vec<Open>,
}

impl<'s> Parser<'s> {
    /// Reads the text up to the next tag, and the tag. False at the end.
    fn step(&mut self) -> Result<bool, SyntaxError> {
        let Some((text, rest)) = self.rest.split_once(&self.delimiters.0) else {
            let text = self.rest;
            self.push_text(text);
            return Ok(false);
        };
        self.rest = rest;
        self.advance(text);
        match text.rsplit_once('\n') {
            Some((_, tail)) => self.is_line_blank = is_blank(tail),
            None => self.is_line_blank &= is_blank(text),
        }
        let (sigil, content) = self.read_tag()?;
        let tag_line = self.line;
        let is_standalone = self.is_line_blank
            && matches!(sigil, Some('#' | '^' | '/' | '!' | '='))
            && self.end_of_line().is_some();
        let lines = content.matches('\n').count();
        let before = if is_standalone {
            // The line's indentation goes with it.
            text.trim_end_matches([' ', '\t'])
        } else {
            text
        };
        self.push_text(before);
        self.apply(sigil, content)?;
        self.line = tag_line.saturating_add(lines);
        self.is_line_blank = is_standalone;
        if is_standalone && let Some((line, rest)) = self.end_of_line() {
            self.advance(line);
            self.rest = rest;
        }
        Ok(true)
    }

    /// The kind of the tag, and what it says.
    fn read_tag(&mut self) -> Result<(Option<char>, &'s str), SyntaxError> {
        let sigil = self.rest.chars().next();
        let close = match sigil {
            Some('{') => format!("}}{}", self.delimiters.1),
            Some('=') => format!("={}", self.delimiters.1),
            _ => self.delimiters.1.clone(),
        };
        let inside = match sigil {
            Some(c @ ('#' | '^' | '/' | '!' | '=' | '{' | '&' | '>' | '<' | '$')) => {
                self.rest.strip_prefix(c).unwrap_or(self.rest)
            }
            _ => self.rest,
        };
        let (content, rest) = inside
            .split_once(&close)
            .ok_or(SyntaxError::UnclosedTag { expected: close })?;
        self.rest = rest;
        Ok((sigil, content))
    }

    fn apply(&mut self, sigil: Option<char>, content: &str) -> Result<(), SyntaxError> {
        let name = || {
            let name = content.trim();
            let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
            let name = name.to_owned();
            is_name
                .then_some(name.clone())
                .ok_or(SyntaxError::Name { name })
        };
        let line = self.line;
        match sigil {
            Some('!') => {}
            Some('=') => self.delimiters = parse_delimiters(content)?,
            Some('>' | '<' | '$') => {
                let tag = content.trim().to_owned();
                return Err(SyntaxError::Include { tag });
            }
            Some(sigil @ ('#' | '^')) => {
                if self.open.len() >= DEPTH_LIMIT {
                    return Err(SyntaxError::TooLarge);
                }
                self.open.push(Open {
                    name: name()?,
                    inverted: sigil == '^',
                    line,
                    before: std::mem::take(&mut self.nodes),
                });
            }
            Some('/') => self.close(name()?)?,
            sigil => self.nodes.push(Node::Variable {
                name: name()?,
                raw: matches!(sigil, Some('{' | '&')),
                line,
            }),
        }
        Ok(())
    }

    fn close(&mut self, actual: String) -> Result<(), SyntaxError> {
        let expected = self.open.last().map(|open| open.name.clone());
        match self.open.pop() {
            Some(open) if open.name == actual => {
                let body = std::mem::replace(&mut self.nodes, open.before);
                self.nodes.push(Node::Section {
                    name: open.name,
                    inverted: open.inverted,
                    body,
                    line: open.line,
                });
                Ok(())
            }
            _ => Err(SyntaxError::WrongEnd {
                expected: expected.unwrap_or_default(),
                actual,
            }),
        }
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Node::Text(before)) = self.nodes.last_mut() {
            before.push_str(text);
        } else {
            self.nodes.push(Node::Text(text.to_owned()));
        }
    }

    /// What is left of this line, with its end, and what follows, if it is blank. Blanks that a
    /// template ends with are none: the existing renderer prints them.
    fn end_of_line(&self) -> Option<(&'s str, &'s str)> {
        let Some((line, rest)) = self.rest.split_once('\n') else {
            return self.rest.is_empty().then_some(("", ""));
        };
        let is_end = is_blank(line.strip_suffix('\r').unwrap_or(line));
        is_end.then_some(("\n", rest))
    }

    fn advance(&mut self, text: &str) {
        self.line = self.line.saturating_add(text.matches('\n').count());
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' ' | '\t'))
}

fn parse_delimiters(content: &str) -> Result<(String, String), SyntaxError> {
    let words: Vec<&str> = content.split_whitespace().collect();
    match words.as_slice() {
        [open, close] if !content.contains('=') => Ok(((*open).to_owned(), (*close).to_owned())),
        _ => Err(SyntaxError::Delimiters {
            actual: content.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(source: &str) -> (usize, SyntaxError) {
        parse(source).unwrap_err()
    }

    #[test]
    fn errors_have_their_line() {
        let unclosed = SyntaxError::UnclosedTag {
            expected: "}}".into(),
        };
        assert_eq!(failure("a\nb {{c\n"), (2, unclosed));
        let name = "s".to_owned();
        assert_eq!(
            failure("\n\n{{#s}}\n\n"),
            (3, SyntaxError::UnclosedSection { name })
        );
        let wrong = SyntaxError::WrongEnd {
            expected: "a".into(),
            actual: "b".into(),
        };
        assert_eq!(failure("{{#a}}\n{{! x\n y }}\n{{/b}}"), (4, wrong));
        let none = SyntaxError::WrongEnd {
            expected: String::new(),
            actual: "b".into(),
        };
        assert_eq!(failure("{{/b}}"), (1, none));
        let tag = "part".to_owned();
        assert_eq!(failure("{{> part }}"), (1, SyntaxError::Include { tag }));
        assert!(matches!(failure("{{a b}}").1, SyntaxError::Name { .. }));
        assert!(matches!(failure("{{}}").1, SyntaxError::Name { .. }));
        assert!(matches!(
            failure("{{=a=}}").1,
            SyntaxError::Delimiters { .. }
        ));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "{{#a}}".repeat(DEPTH_LIMIT + 1);
        assert_eq!(failure(&deep).1, SyntaxError::TooLarge);
        let large = " ".repeat(crate::TEMPLATE_LIMIT + 1);
        assert_eq!(failure(&large).1, SyntaxError::TooLarge);
    }

    #[test]
    fn lines_of_variables_are_counted_behind_tags_of_many_lines() {
        let nodes = parse("{{!\n\n}}\nx\n {{a}}").unwrap();
        let Node::Variable { line, .. } = nodes.last().unwrap() else {
            panic!("{nodes:?}");
        };
        assert_eq!(*line, 5);
    }
}
