//! Strict templates: parsed once, with every tag in a place where a value may stand; then rendered.
//!
//! I/O: none.

use serde_json::Value;

use crate::format::{Format, Lexer, Misplaced, Problem, Slot};
use crate::grammar::{self, Node, SyntaxError};
use crate::name::Name;
use crate::values::Values;
use crate::{OUTPUT_LIMIT, TAG_LIMIT};

/// A template whose tags all stand where values may stand.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    format: Format,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Value {
        name: Name,
        slot: Slot,
        is_raw: bool,
        line: usize,
    },
    Section(Section),
}

#[derive(Debug, Clone)]
struct Section {
    name: Name,
    is_inverted: bool,
    is_optional: bool,
    body: Vec<Part>,
    line: usize,
}

/// Why a text is not a template of its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The tags are wrong.
    #[error("{template}: line {line}")]
    Syntax {
        /// Which template.
        template: String,
        /// Where, from 1.
        line: usize,
        /// What.
        #[source]
        source: SyntaxError,
    },
    /// A tag stands where no value may stand, or text where none may be behind one.
    #[error("{template}: line {line}: {tag}: {reason}")]
    Misplaced {
        /// Which template.
        template: String,
        /// Where the tag is, from 1.
        line: usize,
        /// The tag's name; empty if it is text before any tag.
        tag: String,
        /// What is expected.
        reason: &'static str,
    },
}

/// Why a template cannot be rendered with these values. Never says a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template}: line {line}: {key}: {problem}")]
pub struct RenderError {
    /// Which template.
    pub template: String,
    /// Where the tag is, from 1.
    pub line: usize,
    /// The tag's name.
    pub key: String,
    /// What is wrong with its value.
    pub problem: Problem,
}

impl Template {
    /// Parses a template; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// If the tags are wrong, or one stands where no value may stand.
    pub fn parse(name: &str, source: &str, format: Format) -> Result<Self, ParseError> {
        let nodes = grammar::parse(source).map_err(|(line, source)| ParseError::Syntax {
            template: name.to_owned(),
            line,
            source,
        })?;
        let mut parser = Parser {
            template: name,
            lexer: Lexer::new(format),
            tag: String::new(),
            line: 1,
        };
        Ok(Self {
            name: name.to_owned(),
            format,
            parts: parser.parts(nodes)?,
        })
    }

    /// Renders it.
    ///
    /// # Errors
    ///
    /// Names the first key whose value is missing or cannot stand where it should.
    pub fn render(&self, values: &Values) -> Result<String, RenderError> {
        let mut renderer = Renderer {
            template: self,
            root: values.root(),
            out: String::new(),
            tags: 0,
        };
        renderer.parts(&self.parts, None)?;
        Ok(renderer.out)
    }

    /// The language of what is rendered.
    pub fn format(&self) -> Format {
        self.format
    }
}

struct Parser<'t> {
    template: &'t str,
    lexer: Lexer,
    /// The last tag, and its line: what an error in text is about.
    tag: String,
    line: usize,
}

impl Parser<'_> {
    fn parts(&mut self, nodes: Vec<Node>) -> Result<Vec<Part>, ParseError> {
        nodes.into_iter().map(|node| self.part(node)).collect()
    }

    fn part(&mut self, node: Node) -> Result<Part, ParseError> {
        match node {
            Node::Text(text) => {
                let passed = self.lexer.text(&text);
                self.placed(passed)?;
                Ok(Part::Text(text))
            }
            Node::Variable { name, raw, line } => {
                self.tag.clone_from(&name);
                self.line = line;
                let slot = if raw {
                    self.lexer.raw()
                } else {
                    self.lexer.value()
                };
                Ok(Part::Value {
                    slot: self.placed(slot)?,
                    name: self.name(&name)?,
                    is_raw: raw,
                    line,
                })
            }
            Node::Section {
                name,
                inverted,
                body,
                line,
            } => self.section(&name, inverted, body, line).map(Part::Section),
        }
    }

    fn section(
        &mut self,
        name: &str,
        is_inverted: bool,
        nodes: Vec<Node>,
        line: usize,
    ) -> Result<Section, ParseError> {
        self.tag = name.to_owned();
        self.line = line;
        let plain = name.strip_suffix('?');
        let section_name = self.name(plain.unwrap_or(name))?;
        // What stands behind it must not depend on whether, and how often, the body is rendered.
        let start = self.lexer.clone();
        let mut body = self.parts(nodes.clone())?;
        let mut joined = start.join(&self.lexer);
        if let Some(first) = joined.clone().filter(|first| *first != start) {
            self.lexer = first.clone();
            body = self.parts(nodes)?;
            joined = first.join(&self.lexer).filter(|again| *again == first);
        }
        self.tag = name.to_owned();
        self.line = line;
        let between = "expected the section to begin and to end between two lines or values";
        self.lexer = self.placed(joined.ok_or(between))?;
        Ok(Section {
            name: section_name,
            is_inverted,
            is_optional: plain.is_some(),
            body,
            line,
        })
    }

    fn name(&self, text: &str) -> Result<Name, ParseError> {
        Name::parse(text).ok_or_else(|| ParseError::Syntax {
            template: self.template.to_owned(),
            line: self.line,
            source: SyntaxError::Name {
                name: text.to_owned(),
            },
        })
    }

    fn placed<T>(&self, result: Result<T, Misplaced>) -> Result<T, ParseError> {
        result.map_err(|reason| ParseError::Misplaced {
            template: self.template.to_owned(),
            line: self.line,
            tag: self.tag.clone(),
            reason,
        })
    }
}

struct Renderer<'r> {
    template: &'r Template,
    root: &'r Value,
    out: String,
    tags: usize,
}

impl<'r> Renderer<'r> {
    fn parts(&mut self, parts: &'r [Part], item: Option<&'r Value>) -> Result<(), RenderError> {
        for part in parts {
            match part {
                Part::Text(text) => self.out.push_str(text),
                Part::Value {
                    name,
                    slot,
                    is_raw,
                    line,
                } => {
                    let written = self.value(name, item, *slot, *is_raw);
                    written.map_err(|problem| self.error(name, *line, problem))?;
                    self.charge(name, *line)?;
                }
                Part::Section(section) => self.section(section, item)?,
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        name: &Name,
        item: Option<&Value>,
        slot: Slot,
        is_raw: bool,
    ) -> Result<(), Problem> {
        let value = name.find(self.root, item).ok_or(Problem::Missing)?;
        let format = self.template.format;
        match value {
            Value::Null => Err(Problem::Null),
            value if !is_raw => format.write(slot, value, &mut self.out),
            Value::String(text) => format.write_raw(slot, text, &mut self.out),
            _ => Err(Problem::NotText),
        }
    }

    fn section(
        &mut self,
        section: &'r Section,
        item: Option<&'r Value>,
    ) -> Result<(), RenderError> {
        let is_optional = section.is_optional;
        let items: Vec<Option<&Value>> = match section.name.find(self.root, item) {
            None | Some(Value::Null) if is_optional => Vec::new(),
            None => return Err(self.error(&section.name, section.line, Problem::Missing)),
            Some(Value::Null) => {
                return Err(self.error(&section.name, section.line, Problem::Null));
            }
            Some(Value::Bool(false)) => Vec::new(),
            // It has nothing to say: the item stays.
            Some(Value::Bool(true)) => vec![item],
            Some(Value::Array(items)) => items.iter().map(Some).collect(),
            Some(object @ Value::Object(_)) => vec![Some(object)],
            Some(scalar) if is_optional => vec![Some(scalar)],
            Some(_) => {
                return Err(self.error(&section.name, section.line, Problem::NotASection));
            }
        };
        let items = match (section.is_inverted, items.is_empty()) {
            (true, true) => vec![item],
            (true, false) => Vec::new(),
            (false, _) => items,
        };
        self.charge(&section.name, section.line)?;
        items.into_iter().try_for_each(|item| {
            self.parts(&section.body, item)?;
            self.charge(&section.name, section.line)
        })
    }

    /// Counts a tag, or one turn of a loop.
    fn charge(&mut self, name: &Name, line: usize) -> Result<(), RenderError> {
        self.tags = self.tags.saturating_add(1);
        if self.tags > TAG_LIMIT || self.out.len() > OUTPUT_LIMIT {
            return Err(self.error(name, line, Problem::TooLarge));
        }
        Ok(())
    }

    fn error(&self, name: &Name, line: usize, problem: Problem) -> RenderError {
        RenderError {
            template: self.template.name.clone(),
            line,
            key: name.to_string(),
            problem,
        }
    }
}
