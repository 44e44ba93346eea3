//! JSON that keeps what `serde_json::Value` forgets: keys that are there twice.
//!
//! I/O: none.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::ReferenceError;

/// A JSON value. Numbers, booleans and null are never asked for, so they are only told apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Text(String),
    Number,
    Boolean,
    Null,
}

impl Json {
    /// Parses a text. serde_json limits nesting to 128 levels.
    pub(super) fn parse(text: &str) -> Result<Self, ReferenceError> {
        let json: Self = serde_json::from_str(text)?;
        json.refuse_duplicates("")?;
        Ok(json)
    }

    /// Returns the value of a key of an object.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        let Self::Object(fields) = self else {
            return None;
        };
        fields
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// What it is, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Object(_) => "an object",
            Self::List(_) => "a list",
            Self::Text(_) => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }

    fn refuse_duplicates(&self, place: &str) -> Result<(), ReferenceError> {
        match self {
            Self::Object(fields) => {
                let mut names = std::collections::BTreeSet::new();
                for (name, value) in fields {
                    let place = key(place, name);
                    if !names.insert(name) {
                        return Err(ReferenceError::DuplicateKey { place });
                    }
                    value.refuse_duplicates(&place)?;
                }
                Ok(())
            }
            Self::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| item.refuse_duplicates(&item_place(place, index))),
            Self::Text(_) | Self::Number | Self::Boolean | Self::Null => Ok(()),
        }
    }
}

/// The place of a key: `[3].measurements."11"`.
pub(super) fn key(place: &str, key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain {
        format!("{place}.{key}")
    } else {
        format!("{place}.{key:?}")
    }
}

/// The place of an item of a list: `[3]`.
pub(super) fn item_place(place: &str, index: usize) -> String {
    format!("{place}[{index}]")
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
}
