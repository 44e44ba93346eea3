//! An XML document as a tree of elements, without attributes and namespaces.
//!
//! I/O: none.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest nesting: a health report has six levels.
const MAX_DEPTH: usize = 16;

/// Why a document is no tree of elements.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum XmlError {
    /// It is not well-formed.
    #[error("not XML")]
    Syntax(#[from] quick_xml::Error),

    /// It is well-formed, and not what a report is made of.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    /// The text in it, without blanks around it.
    pub(super) text: String,
    pub(super) children: Vec<Self>,
}

impl Element {
    /// Parses a document.
    pub(super) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        // The elements that are open, outermost first; before them, one that holds the root.
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event()? {
                Event::Start(start) if open.len() <= MAX_DEPTH => {
                    open.push(Self::named(start.name().as_ref()));
                }
                Event::Start(_) => return Err(XmlError::Unexpected("nested too deeply")),
                Event::Empty(start) => add(&mut open, Self::named(start.name().as_ref())),
                Event::End(_) => {
                    let mut element = open.pop().unwrap_or_default();
                    element.text = element.text.trim().to_owned();
                    add(&mut open, element);
                }
                Event::Text(piece) => append(&mut open, &piece.xml10_content()),
                Event::CData(piece) => append(&mut open, &piece.xml10_content()),
                Event::GeneralRef(reference) => {
                    append(&mut open, &resolve(&reference)?);
                }
                Event::DocType(_) => return Err(XmlError::Unexpected("a document type")),
                Event::Eof => break,
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            }
        }
        let [outside] = open.as_mut_slice() else {
            return Err(XmlError::Unexpected("it ends within an element"));
        };
        match outside.children.pop() {
            Some(root) if outside.children.is_empty() && outside.text.trim().is_empty() => Ok(root),
            _ => Err(XmlError::Unexpected("not one root element")),
        }
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The only child of this name, for tests.
    #[cfg(test)]
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        let mut same = self.children.iter().filter(|child| child.name == name);
        same.next().filter(|_| same.next().is_none())
    }
}

fn add(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// What `&amp;` and its kin stand for; a document without a type has no others.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<String, XmlError> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.to_string());
    }
    let text: &str = reference.as_ref();
    match quick_xml::escape::resolve_xml_entity(text) {
        Some(text) => Ok(text.to_owned()),
        None => Err(XmlError::Unexpected("an unknown entity")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_becomes_a_tree() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- c -->\n<a x=\"1\"><b> 1 &amp; &#50;<![CDATA[<]]> </b><c/></a>";
        let root = Element::parse(text).unwrap();
        assert_eq!(root.child("b").unwrap().text, "1 & 2<");
        assert_eq!(root.child("c").unwrap(), &Element::named("c"));
        assert_eq!(root.child("d"), None);
    }

    #[test]
    fn second_child_of_a_name_makes_it_ambiguous() {
        let root = Element::parse("<a><b/><b/></a>").unwrap();
        assert_eq!(root.child("b"), None);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>text",
            "<!DOCTYPE a><a/>",
            "<a>&nbsp;</a>",
            &deep,
        ] {
            assert!(Element::parse(text).is_err(), "{text:.40}");
        }
    }
}
