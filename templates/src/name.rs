//! Names of values, as strict templates and declarations write them.
//!
//! I/O: none.

use std::fmt;

use serde_json::Value;

/// Where a value is: keys from the configuration's root, or from a loop's item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    is_of_item: bool,
    keys: Vec<String>,
}

impl Name {
    /// Parses `a.b`, `.a.b` or `.`; a key is letters, digits, `_` and `-`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (is_of_item, keys) = match text.strip_prefix('.') {
            Some(keys) => (true, keys),
            None => (false, text),
        };
        if is_of_item && keys.is_empty() {
            let keys = Vec::new();
            return Some(Self { is_of_item, keys });
        }
        let is_key = |key: &str| {
            !key.is_empty()
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        let keys: Vec<String> = keys.split('.').map(str::to_owned).collect();
        let is_name = keys.iter().all(|key| is_key(key));
        is_name.then_some(Self { is_of_item, keys })
    }

    /// Whether it starts at the root, as a name outside a template has to.
    pub(crate) fn is_of_root(&self) -> bool {
        !self.is_of_item
    }

    /// The value, `None` if it is missing.
    pub(crate) fn find<'v>(&self, root: &'v Value, item: Option<&'v Value>) -> Option<&'v Value> {
        let start = if self.is_of_item { item? } else { root };
        self.keys
            .iter()
            .try_fold(start, |value, key| value.get(key))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.is_of_item { "." } else { "" };
        write!(f, "{dot}{}", self.keys.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_with_dots_between() {
        for name in ["a", "a.b", ".", ".a", ".a.b-c", "a_1.2"] {
            assert_eq!(Name::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "..", "a.", "a..b", "a b", "a#base64", "a?", "é"] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
