//! JSON: where values stand in it.
//!
//! I/O: none.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{GLUED, Misplaced, NO_SLOT, NotWellFormed, Slot};

/// Where one is in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lexer {
    place: Place,
    /// The brackets that are open.
    open: Vec<char>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before a value.
    #[default]
    Expect,
    /// Before a key, in it, or behind it.
    Key,
    QuotedKey {
        is_escaped: bool,
    },
    Text {
        is_escaped: bool,
    },
    /// In or behind a value of the template.
    Value,
    /// Behind a tag.
    Tag,
}

impl Lexer {
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        for c in text.chars() {
            let is_escaped = c == '\\';
            self.place = match (self.place, c) {
                (Place::QuotedKey { is_escaped: false }, '"') => Place::Key,
                (Place::QuotedKey { is_escaped: was }, _) => Place::QuotedKey {
                    is_escaped: is_escaped && !was,
                },
                (Place::Text { is_escaped: false }, '"') => Place::Value,
                (Place::Text { is_escaped: was }, _) => Place::Text {
                    is_escaped: is_escaped && !was,
                },
                (place, c) if c.is_whitespace() => place,
                (_, ']' | '}') => {
                    self.open.pop();
                    Place::Value
                }
                (_, ',') => match self.open.last() {
                    Some('{') => Place::Key,
                    _ => Place::Expect,
                },
                (Place::Key, '"') => Place::QuotedKey { is_escaped: false },
                (Place::Key, ':') => Place::Expect,
                (Place::Expect, '[' | '{') => {
                    self.open.push(c);
                    if c == '[' { Place::Expect } else { Place::Key }
                }
                (Place::Expect, '"') => Place::Text { is_escaped: false },
                (Place::Key, _) => Place::Key,
                (Place::Expect | Place::Value, _) => Place::Value,
                (Place::Tag, _) => return Err(GLUED),
            };
        }
        Ok(())
    }

    pub(super) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self.place {
            Place::Expect => {
                self.place = Place::Tag;
                Ok(Slot::Whole)
            }
            Place::Text { is_escaped: false } => Ok(Slot::Quoted),
            _ => Err(NO_SLOT),
        }
    }
}

/// Parses a value, in which no key is there twice.
pub(super) fn parse(text: &str) -> Result<Value, NotWellFormed> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Unique.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    // Its own text may show a key.
    value.map_err(|error| NotWellFormed {
        line: error.line().max(1),
    })
}

/// Reads any value, and refuses a key that is there twice, of which serde_json takes the last.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Unique)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Unique)?;
            if object.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("a key is there twice"));
            }
        }
        Ok(object.into())
    }
}
