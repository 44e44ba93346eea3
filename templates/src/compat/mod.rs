//! Templates of existing images, rendered as those render them.
//!
//! A file `NAME.mustache` with `_unsafe` or a mode of three or four octal digits behind it, in this
//! order, is rendered by Mustache's rules: a missing value is empty, values are escaped for HTML,
//! names are looked up from the inside out. Operators can bring what they have; new templates should
//! be strict ones. It differs from the existing renderer where that one's output is of no use: a list
//! in a variable is `[a, b]`, not `[a b]`; null or an object in a variable is an error. Partials are
//! refused.
//!
//! What is missing is reported as a [`Warning`].
//!
//! I/O: none.

mod data;
mod go;

use std::fmt;

pub use data::Data;
use serde_json::Value;

use crate::format::Problem;
use crate::grammar::{self, Node};
use crate::template::{ParseError, RenderError};
use crate::{OUTPUT_LIMIT, TAG_LIMIT};

/// Whether the configuration is sanitised before it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only printable ASCII; control characters are seen as their JSON escapes. `#base64` keys stay.
    Safe,
    /// As it is, `#base64` keys decoded.
    Unsafe,
}

/// What a template's file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The destination's name.
    pub destination: String,
    /// Whether values are sanitised.
    pub mode: Mode,
    /// The destination's permissions.
    pub permissions: Option<u32>,
}

impl FileName {
    /// Parses `NAME.mustache[_unsafe][_DIGITS]`; `None` if it isn't of this form.
    pub fn parse(name: &str) -> Option<Self> {
        let (destination, rest) = name.rsplit_once(".mustache")?;
        let (mode, rest) = match rest.strip_prefix("_unsafe") {
            Some(rest) => (Mode::Unsafe, rest),
            None => (Mode::Safe, rest),
        };
        let permissions = match rest.strip_prefix('_') {
            Some(digits) => Some(parse_permissions(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        (!destination.is_empty()).then(|| Self {
            destination: destination.to_owned(),
            mode,
            permissions,
        })
    }
}

/// Three or four octal digits.
pub(crate) fn parse_permissions(digits: &str) -> Option<u32> {
    let is_octal = digits.chars().all(|c| matches!(c, '0'..='7'));
    let permissions = u32::from_str_radix(digits, 8).ok()?;
    (is_octal && matches!(digits.len(), 3 | 4)).then_some(permissions)
}

/// Something that was rendered as nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which template.
    pub template: String,
    /// Where the tag is, from 1.
    pub line: usize,
    /// The tag's name.
    pub key: String,
    /// Why.
    pub kind: WarningKind,
}

/// Why something was rendered as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// A variable's key is missing.
    Missing,
    /// A section's value is the number 0, which some versions of the renderer take for false.
    Zero,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            template,
            line,
            key,
            kind,
        } = self;
        let what = match kind {
            WarningKind::Missing => "missing, rendered as nothing",
            WarningKind::Zero => "the number 0, taken for false",
        };
        write!(f, "{template}: line {line}: {key}: {what}")
    }
}

/// A template of an existing image.
#[derive(Debug, Clone)]
pub struct Mustache {
    name: String,
    nodes: Vec<Node>,
}

impl Mustache {
    /// Parses a template; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// If the tags are wrong or include other templates.
    pub fn parse(name: &str, source: &str) -> Result<Self, ParseError> {
        let nodes = grammar::parse(source).map_err(|(line, source)| ParseError::Syntax {
            template: name.to_owned(),
            line,
            source,
        })?;
        let name = name.to_owned();
        Ok(Self { name, nodes })
    }

    /// Renders it, and says what was missing.
    ///
    /// # Errors
    ///
    /// If a variable is null or an object, or the output too large.
    pub fn render(&self, data: &Data) -> Result<(String, Vec<Warning>), RenderError> {
        let mut renderer = Renderer {
            template: &self.name,
            stack: vec![data.root()],
            out: String::new(),
            tags: 0,
            warnings: Vec::new(),
        };
        renderer.nodes(&self.nodes)?;
        Ok((renderer.out, renderer.warnings))
    }
}

struct Renderer<'r> {
    template: &'r str,
    /// Innermost last.
    stack: Vec<&'r Value>,
    out: String,
    tags: usize,
    warnings: Vec<Warning>,
}

impl<'r> Renderer<'r> {
    fn nodes(&mut self, nodes: &'r [Node]) -> Result<(), RenderError> {
        nodes.iter().try_for_each(|node| match node {
            Node::Text(text) => {
                self.out.push_str(text);
                Ok(())
            }
            Node::Variable { name, raw, line } => {
                match self.find(name) {
                    None => self.warn(name, *line, WarningKind::Missing),
                    Some(value) => {
                        let text =
                            go::text(value).map_err(|problem| self.error(name, *line, problem))?;
                        if *raw {
                            self.out.push_str(&text);
                        } else {
                            go::escape_html(&text, &mut self.out);
                        }
                    }
                }
                self.charge(name, *line)
            }
            Node::Section {
                name,
                inverted,
                body,
                line,
            } => self.section(name, *inverted, body, *line),
        })
    }

    fn section(
        &mut self,
        name: &str,
        is_inverted: bool,
        body: &'r [Node],
        line: usize,
    ) -> Result<(), RenderError> {
        let value = self.find(name);
        if let Some(Value::Number(number)) = value
            && go::is_zero(number)
        {
            self.warn(name, line, WarningKind::Zero);
        }
        let value = value.filter(|value| go::is_true(value));
        self.charge(name, line)?;
        match (is_inverted, value) {
            (true, Some(_)) | (false, None) => Ok(()),
            (true, None) => self.nodes(body),
            (false, Some(Value::Array(items))) => items.iter().try_for_each(|item| {
                self.inside(item, body)?;
                self.charge(name, line)
            }),
            (false, Some(value)) => self.inside(value, body),
        }
    }

    fn inside(&mut self, value: &'r Value, body: &'r [Node]) -> Result<(), RenderError> {
        self.stack.push(value);
        let rendered = self.nodes(body);
        self.stack.pop();
        rendered
    }

    /// The first key from the inside out, the rest only in its value.
    fn find(&self, name: &str) -> Option<&'r Value> {
        if name == "." {
            return self.stack.last().copied();
        }
        let mut keys = name.split('.');
        let first = keys.next()?;
        let start = self.stack.iter().rev().find_map(|value| value.get(first))?;
        keys.try_fold(start, |value, key| value.get(key))
    }

    fn warn(&mut self, key: &str, line: usize, kind: WarningKind) {
        let warning = Warning {
            template: self.template.to_owned(),
            line,
            key: key.to_owned(),
            kind,
        };
        // Once, however long the loop that it is in.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn charge(&mut self, key: &str, line: usize) -> Result<(), RenderError> {
        self.tags = self.tags.saturating_add(1);
        if self.tags > TAG_LIMIT || self.out.len() > OUTPUT_LIMIT {
            return Err(self.error(key, line, Problem::TooLarge));
        }
        Ok(())
    }

    fn error(&self, key: &str, line: usize, problem: Problem) -> RenderError {
        RenderError {
            template: self.template.to_owned(),
            line,
            key: key.to_owned(),
            problem,
        }
    }
}
