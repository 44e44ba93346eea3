//! What Azure wants of a machine, as far as a report has to name it.
//!
//! The document (`spec/node.md` A4): `GoalState` of `Version`, `Incarnation`, `Machine` and `Container`, this of
//! `ContainerId` and `RoleInstanceList` with a `RoleInstance` that has an `InstanceId`. Elements that are not
//! asked for are passed over, in any order; whoever wrote the document may be anybody, so it is bounded
//! in size and depth, and a document type, with it every entity, is refused.
//!
//! I/O: none.

use std::str::Utf8Error;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Largest document, in bytes; Azure's have two thousand.
pub(crate) const MAX_DOCUMENT: usize = 64 << 10;

/// Deepest nesting; Azure's documents have six levels.
const MAX_DEPTH: usize = 16;

/// Longest identifier, in bytes; Azure's have a hundred.
const MAX_ID: usize = 256;

/// Most digits of an incarnation: those of 64 bits.
const MAX_DIGITS: usize = 20;

/// Whom a report is about, all as the wireserver wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoalState {
    /// How many goal states this container has been given, in decimal digits.
    pub incarnation: String,
    /// The container that the machine runs in: a UUID.
    pub container: String,
    /// Which instance of its role the machine is: a UUID, a dot and the machine's name, on Azure.
    pub instance: String,
}

/// Why a document is no goal state that can be reported about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoalStateError {
    /// It is larger than any.
    #[error("expected at most {MAX_DOCUMENT} bytes, got {actual}")]
    Size {
        /// What it has.
        actual: usize,
    },
    /// It is not text.
    #[error("expected UTF-8")]
    Text(#[from] Utf8Error),
    /// It is not well-formed.
    #[error("expected XML")]
    Syntax(#[from] quick_xml::Error),
    /// It is XML of a kind that goal states are not.
    #[error("expected elements and text, got {actual}")]
    Unexpected {
        /// What there is.
        actual: &'static str,
    },
    /// It does not say what it must.
    #[error("there is no {element}")]
    Missing {
        /// The name of the element.
        element: &'static str,
    },
    /// It says something twice.
    #[error("there is more than one {element}")]
    Ambiguous {
        /// The name of the element.
        element: &'static str,
    },
    /// It says something that cannot be.
    #[error("expected {element} to be {expected}, got {actual:?}")]
    Value {
        /// The name of the element.
        element: &'static str,
        /// What it may be.
        expected: &'static str,
        /// The beginning of what it is.
        actual: String,
    },
}

impl GoalState {
    /// Parses the wireserver's document. Of several role instances the first counts.
    ///
    /// # Errors
    ///
    /// [`GoalStateError`] if it is something else.
    pub fn parse(document: &[u8]) -> Result<Self, GoalStateError> {
        if document.len() > MAX_DOCUMENT {
            let actual = document.len();
            return Err(GoalStateError::Size { actual });
        }
        let text = std::str::from_utf8(document)?;
        let mut incarnation = Field::of(&["GoalState", "Incarnation"]);
        let mut container = Field::of(&["GoalState", "Container", "ContainerId"]);
        let mut instance = Field::of(&[
            "GoalState",
            "Container",
            "RoleInstanceList",
            "RoleInstance",
            "InstanceId",
        ]);
        instance.may_repeat = true;
        // Some versions of the service begin with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        read(text, &mut [&mut incarnation, &mut container, &mut instance])?;

        let is_number = |text: &str| {
            (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_id = |text: &str| {
            (1..=MAX_ID).contains(&text.len())
                && !text.chars().any(|c| c.is_control() || c > '\u{fffd}')
        };
        Ok(Self {
            incarnation: incarnation.value("a number of at most 20 digits", is_number)?,
            container: container.value("at most 256 bytes of text in one line", is_id)?,
            instance: instance.value("at most 256 bytes of text in one line", is_id)?,
        })
    }
}

/// An element that is looked for.
struct Field {
    /// The names of the elements around it, outermost first, and its own.
    path: &'static [&'static str],
    may_repeat: bool,
    /// The text of the first one, as far as it was read.
    text: Option<String>,
    /// Whether that one has ended.
    is_complete: bool,
}

impl Field {
    fn of(path: &'static [&'static str]) -> Self {
        Self {
            path,
            may_repeat: false,
            text: None,
            is_complete: false,
        }
    }

    fn element(&self) -> &'static str {
        self.path.last().copied().unwrap_or_default()
    }

    fn begin(&mut self) -> Result<(), GoalStateError> {
        match &self.text {
            None => self.text = Some(String::new()),
            Some(_) if self.may_repeat => {}
            Some(_) => {
                let element = self.element();
                return Err(GoalStateError::Ambiguous { element });
            }
        }
        Ok(())
    }

    fn append(&mut self, text: &str) {
        if let (Some(whole), false) = (&mut self.text, self.is_complete) {
            whole.push_str(text);
        }
    }

    /// The text without the blanks around it, if it is one of those expected.
    fn value(
        self,
        expected: &'static str,
        is_expected: impl Fn(&str) -> bool,
    ) -> Result<String, GoalStateError> {
        let element = self.element();
        let text = self.text.ok_or(GoalStateError::Missing { element })?;
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if !is_expected(text) {
            let end = text.floor_char_boundary(MAX_ID);
            return Err(GoalStateError::Value {
                element,
                expected,
                actual: text.get(..end).unwrap_or_default().to_owned(),
            });
        }
        Ok(text.to_owned())
    }
}

/// Reads a document from end to end and fills the fields in.
fn read(text: &str, fields: &mut [&mut Field]) -> Result<(), GoalStateError> {
    let unexpected = |actual| Err(GoalStateError::Unexpected { actual });
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    // The names of the elements that are open, outermost first.
    let mut open: Vec<String> = Vec::new();
    let mut has_root = false;
    loop {
        match reader.read_event()? {
            Event::Start(_) if open.len() >= MAX_DEPTH => return unexpected("deeper nesting"),
            Event::Start(_) if open.is_empty() && has_root => return unexpected("a second root"),
            Event::Start(start) => {
                if find(fields, &open).is_some() {
                    return unexpected("an element within a value");
                }
                has_root = true;
                let name = start.name();
                let name: &str = name.as_ref();
                open.push(name.to_owned());
                if let Some(field) = find(fields, &open) {
                    field.begin()?;
                }
            }
            Event::End(_) => {
                if let Some(field) = find(fields, &open) {
                    field.is_complete = true;
                }
                open.pop();
            }
            Event::Text(piece) => add(fields, &open, &piece.xml10_content())?,
            Event::CData(piece) => add(fields, &open, &piece.xml10_content())?,
            Event::GeneralRef(reference) => match resolve(&reference)? {
                Some(text) => add(fields, &open, &text)?,
                None => return unexpected("an unknown entity"),
            },
            Event::DocType(_) => return unexpected("a document type"),
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => return unexpected("an end within an element"),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::Empty(_) => {}
        }
    }
}

fn find<'a>(fields: &'a mut [&mut Field], open: &[String]) -> Option<&'a mut Field> {
    let found = fields.iter_mut().find(|field| field.path == open)?;
    Some(&mut **found)
}

fn add(fields: &mut [&mut Field], open: &[String], text: &str) -> Result<(), GoalStateError> {
    if open.is_empty() && !text.trim().is_empty() {
        let actual = "text outside of the root";
        return Err(GoalStateError::Unexpected { actual });
    }
    if let Some(field) = find(fields, open) {
        field.append(text);
    }
    Ok(())
}

/// What `&amp;` and its kin, and `&#38;`, stand for; without a document type there are no others.
fn resolve(reference: &BytesRef<'_>) -> Result<Option<String>, quick_xml::Error> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(Some(character.to_string()));
    }
    let name: &str = reference.as_ref();
    Ok(quick_xml::escape::resolve_xml_entity(name).map(str::to_owned))
}

#[cfg(test)]
mod tests;
