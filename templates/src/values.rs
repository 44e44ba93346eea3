//! The values that strict templates see: the configuration, its `#base64` keys decoded.
//!
//! I/O: none.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Deepest that a configuration nests; serde_json's own limit when it parses.
const DEPTH_LIMIT: usize = 128;
const SUFFIX: &str = "#base64";

/// A configuration in which each `x#base64` has become `x`, decoded.
#[derive(Clone)]
pub struct Values(Value);

/// Why a configuration cannot be used. Names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// The configuration is not an object.
    #[error("expected the configuration to be an object")]
    NotAnObject,
    /// Both `x` and `x#base64` are there; readers would differ in which one they take.
    #[error("{key}: both it and {key}{SUFFIX} are there")]
    Both {
        /// The key without suffix.
        key: String,
    },
    /// Not a string, or not base64 of the standard alphabet with padding, or not UTF-8 once decoded.
    #[error("{key}: not base64 of UTF-8 text")]
    Base64 {
        /// The key with suffix.
        key: String,
    },
    /// Too deep.
    #[error("{key}: expected at most {DEPTH_LIMIT} levels")]
    TooDeep {
        /// The outermost key.
        key: String,
    },
}

impl Values {
    /// Decodes the configuration's `#base64` keys, at every depth.
    ///
    /// # Errors
    ///
    /// If it is not an object, a key is there in both forms, or cannot be decoded.
    pub fn new(configuration: &Value) -> Result<Self, ValuesError> {
        if !configuration.is_object() {
            return Err(ValuesError::NotAnObject);
        }
        decode(configuration, &mut Vec::new()).map(Self)
    }

    pub(crate) fn root(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Values {
    /// Without the values, which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values")
    }
}

fn decode(value: &Value, path: &mut Vec<String>) -> Result<Value, ValuesError> {
    if path.len() > DEPTH_LIMIT {
        let key = path.first().cloned().unwrap_or_default();
        return Err(ValuesError::TooDeep { key });
    }
    match value {
        Value::Object(object) => {
            let mut decoded = Map::new();
            for (key, value) in object {
                path.push(key.clone());
                let (key, value) = match key.strip_suffix(SUFFIX) {
                    Some(stem) => (stem, decode_text(value, path)?),
                    None => (key.as_str(), decode(value, path)?),
                };
                path.pop();
                if decoded.insert(key.to_owned(), value).is_some() {
                    path.push(key.to_owned());
                    return Err(ValuesError::Both {
                        key: path.join("."),
                    });
                }
            }
            Ok(Value::Object(decoded))
        }
        Value::Array(items) => {
            let mut decoded = Vec::new();
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                decoded.push(decode(item, path)?);
                path.pop();
            }
            Ok(Value::Array(decoded))
        }
        scalar => Ok(scalar.clone()),
    }
}

fn decode_text(value: &Value, path: &[String]) -> Result<Value, ValuesError> {
    let text = value.as_str().and_then(|text| {
        // Encoders wrap lines.
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        String::from_utf8(STANDARD.decode(text).ok()?).ok()
    });
    text.map(Value::String).ok_or_else(|| ValuesError::Base64 {
        key: path.join("."),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_keys_are_decoded_at_every_depth() {
        let values = Values::new(&json!({
            "a": { "config#base64": "aGVsbG8K\nd29ybGQhCg==" },
            "l": [{ "x#base64": "" }],
        }));
        let expected = json!({ "a": { "config": "hello\nworld!\n" }, "l": [{ "x": "" }] });
        assert_eq!(values.unwrap().root(), &expected);
    }

    #[test]
    fn ambiguous_and_undecodable_keys_are_errors_without_the_value() {
        let both = Values::new(&json!({ "r": { "k": "hunter2", "k#base64": "aHVudGVyMg==" } }));
        let key = "r.k".to_owned();
        assert_eq!(both.unwrap_err(), ValuesError::Both { key });
        for bad in [json!("hunter2!"), json!(7), json!("/w=="), json!("aGk")] {
            let error = Values::new(&json!({ "l": [{ "k#base64": bad }] })).unwrap_err();
            assert_eq!(error.to_string(), "l.0.k#base64: not base64 of UTF-8 text");
        }
        let deep = (0..200).fold(json!(1), |value, _| json!([value]));
        let key = "d".to_owned();
        let error = Values::new(&json!({ "d": deep })).unwrap_err();
        assert_eq!(error, ValuesError::TooDeep { key });
        assert_eq!(
            Values::new(&json!([])).unwrap_err(),
            ValuesError::NotAnObject
        );
    }
}
