//! The keys without which a configuration is not delivered.
//!
//! `{"required": [{"key": "rbuilder.coinbase_secret_key", "type": "string", "secret": true}, …]}`.
//! `key` is a path, its parts separated by dots, or a list of paths of which one has to be there
//! (names that changed between versions). `type` is `string`, `number`, `boolean`, `array` or
//! `object`, or missing: any. A text has to be non-empty unless `"empty": true`. `secret` keys are
//! wanted when the configuration is delivered, but not yet when a builder is activated: an admin
//! sets secrets last.
//!
//! I/O: none.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What nodes of release 1 of the image read, used for networks that have no list of their own.
const BUILDERNET_V1: &str = include_str!("../data/required-keys-buildernet-v1.json");

/// Most keys of a list.
const MAX_KEYS: usize = 1000;

/// A list of required keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Required {
    /// All of these.
    pub(crate) required: Vec<RequiredKey>,
}

/// A key that has to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequiredKey {
    key: Paths,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "is_false")]
    secret: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Paths {
    One(String),
    AnyOf(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    String,
    Number,
    Boolean,
    Array,
    Object,
}

/// When the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A builder is about to be activated; secrets may come later.
    Activation,
    /// A node waits for it.
    Delivery,
}

impl Required {
    /// Parses a list, within bounds.
    pub(crate) fn parse(value: Value) -> Result<Self, String> {
        let list: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if list.required.len() > MAX_KEYS {
            return Err(format!(
                "expected at most {MAX_KEYS} keys, got {}",
                list.required.len()
            ));
        }
        let is_path = |path: &str| !path.is_empty() && path.split('.').all(|part| !part.is_empty());
        for key in &list.required {
            if key.key.paths().is_empty() || !key.key.paths().iter().all(|path| is_path(path)) {
                return Err("expected paths of keys, separated by dots".to_owned());
            }
        }
        Ok(list)
    }

    /// A list that comes with this program, by its name.
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::default()),
            "buildernet-v1" => {
                let value = serde_json::from_str(BUILDERNET_V1).ok()?;
                Self::parse(value).ok()
            }
            _ => None,
        }
    }

    /// What a configuration lacks, in the list's order, for people to read.
    pub(crate) fn missing(&self, configuration: &Value, when: When) -> Vec<String> {
        if !configuration.is_object() {
            return vec![format!(
                "expected an object, got {}",
                kind_of(configuration)
            )];
        }
        let keys = self.required.iter();
        let keys = keys.filter(|key| when == When::Delivery || !key.secret);
        keys.filter_map(|key| key.missing(configuration)).collect()
    }
}

impl RequiredKey {
    fn missing(&self, configuration: &Value) -> Option<String> {
        let paths = self.key.paths();
        let mut found = paths.iter().filter_map(|path| find(configuration, path));
        if found.clone().any(|value| self.accepts(value)) {
            return None;
        }
        let name = paths.join(" or ");
        let expected = self.kind.map_or("a value", Kind::name);
        Some(match found.next() {
            None => format!("{name} ({expected})"),
            Some(Value::String(text)) if text.is_empty() => format!("{name} (is empty)"),
            Some(value) => format!("{name} (expected {expected}, got {})", kind_of(value)),
        })
    }

    fn accepts(&self, value: &Value) -> bool {
        let is_kind = match self.kind {
            None => !value.is_null(),
            Some(Kind::String) => value.is_string(),
            Some(Kind::Number) => value.is_number(),
            Some(Kind::Boolean) => value.is_boolean(),
            Some(Kind::Array) => value.is_array(),
            Some(Kind::Object) => value.is_object(),
        };
        is_kind && (self.empty || value.as_str() != Some(""))
    }
}

impl Paths {
    fn paths(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::AnyOf(paths) => paths,
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

fn find<'a>(configuration: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(configuration, |value, part| value.get(part))
}

/// Never the value: it may be a secret.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_false(claim: &bool) -> bool {
    !*claim
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(value: Value) -> Required {
        Required::parse(json!({ "required": value })).unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let list = list(json!([
            {"key": "a.b", "type": "string"},
            {"key": "n", "type": "number"},
            {"key": ["old", "new.name"]},
            {"key": "s", "secret": true},
        ]));
        assert_eq!(
            list.missing(&json!({"a": {}, "n": "1"}), When::Delivery),
            [
                "a.b (a string)",
                "n (expected a number, got a string)",
                "old or new.name (a value)",
                "s (a value)"
            ]
        );
        let complete = json!({"a": {"b": "x"}, "n": 1, "new": {"name": []}});
        assert_eq!(
            list.missing(&complete, When::Activation),
            Vec::<String>::new()
        );
        assert_eq!(list.missing(&complete, When::Delivery), ["s (a value)"]);
    }

    #[test]
    fn empty_text_is_missing_unless_allowed() {
        let list = list(json!([{"key": "a"}, {"key": "b", "empty": true}]));
        assert_eq!(
            list.missing(&json!({"a": "", "b": ""}), When::Delivery),
            ["a (is empty)"]
        );
    }

    #[test]
    fn what_is_not_an_object_is_never_complete() {
        for value in [json!(null), json!([]), json!("x"), json!(1)] {
            assert_eq!(
                Required::default().missing(&value, When::Delivery).len(),
                1,
                "{value}"
            );
        }
    }

    #[test]
    fn malformed_lists_are_refused() {
        for value in [
            json!([]),
            json!({}),
            json!({"required": [{"key": ""}]}),
            json!({"required": [{"key": []}]}),
            json!({"required": [{"key": "a..b"}]}),
            json!({"required": [{"key": "a", "type": "text"}]}),
            json!({"required": [{"key": "a", "typo": 1}]}),
            json!({"required": vec![json!({"key": "a"}); MAX_KEYS + 1]}),
        ] {
            assert!(Required::parse(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn the_built_in_lists_are_well_formed() {
        assert!(Required::built_in("buildernet-v1").is_some_and(|list| list.required.len() > 20));
        assert_eq!(Required::built_in("none"), Some(Required::default()));
        assert_eq!(Required::built_in("other"), None);
    }
}
