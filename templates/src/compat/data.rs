//! The configuration as templates of existing images see it.
//!
//! I/O: none.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use super::Mode;
use crate::values::{Values, ValuesError};

/// A configuration, sanitised or decoded.
#[derive(Clone)]
pub struct Data(Value);

impl Data {
    /// Sanitises the configuration, or decodes its `#base64` keys.
    ///
    /// # Errors
    ///
    /// As of [`Values::new`], in both modes: what cannot be decoded in one should not pass in the other.
    pub fn new(configuration: &Value, mode: Mode) -> Result<Self, ValuesError> {
        let values = Values::new(configuration)?;
        Ok(Self(match mode {
            Mode::Safe => sanitise(configuration),
            Mode::Unsafe => values.root().clone(),
        }))
    }

    pub(super) fn root(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Data {
    /// Without the values, which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data")
    }
}

/// Its depth has been checked.
fn sanitise(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(sanitise_text(text)),
        Value::Array(items) => items.iter().map(sanitise).collect(),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(key, value)| (sanitise_text(key), sanitise(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        scalar => scalar.clone(),
    }
}

/// Drops all but ASCII; a control character becomes its escape in JSON, as text.
fn sanitise_text(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            ' '..='~' => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn safe_data_is_printable_ascii() {
        let raw =
            json!({ "a\nb": ["x\ny\r\t\u{8}\u{c}\u{0}\u{1b}", "é\u{7f}\u{85}ü\"\\n", 7, null] });
        let safe = json!({ "a\\nb": ["x\\ny\\r\\t\\b\\f\\u0000\\u001b", "\"\\n", 7, null] });
        assert_eq!(Data::new(&raw, Mode::Safe).unwrap().root(), &safe);
        assert_eq!(Data::new(&raw, Mode::Unsafe).unwrap().root(), &raw);
    }

    #[test]
    fn only_unsafe_data_is_decoded() {
        let raw = json!({ "r#base64": "aGk=" });
        assert_eq!(Data::new(&raw, Mode::Safe).unwrap().root(), &raw);
        let decoded = json!({ "r": "hi" });
        assert_eq!(Data::new(&raw, Mode::Unsafe).unwrap().root(), &decoded);
    }
}
