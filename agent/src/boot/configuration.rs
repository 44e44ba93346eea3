//! The node's configuration: what the hub gives, held in memory only, refused while it lacks what
//! the image needs.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::{DnsName, ServerName};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::node::Kind;
use crate::config::templates::Switch;

/// A member of this name has its value in base64; `spec/node.md` A7.1.
const ENCODED: &str = "#base64";

/// Most that is wrong is said at once.
const SAID: usize = 10;

/// As much of a name that the hub gave is said, in characters.
const LONGEST_SAID: usize = 64;

/// A configuration that has everything that is required.
///
/// Has no `Debug`, so that it cannot be logged: most of it is secret.
#[derive(Clone, PartialEq)]
pub(super) struct Configuration(Value);

impl Configuration {
    /// What a node without a hub has.
    pub(super) fn empty() -> Self {
        Self(Value::Object(serde_json::Map::new()))
    }

    /// Takes what the hub gave, which has to be from the hub.
    ///
    /// # Errors
    ///
    /// Says which keys are missing or of another kind, never their values.
    pub(super) fn parse(json: &[u8], required: &BTreeMap<String, Kind>) -> anyhow::Result<Self> {
        let value = serde_json::from_slice(json).map_err(|error| {
            // Its text may quote what it met, which may be a secret.
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!("the configuration is not JSON: line {line}, column {column}")
        })?;
        if !matches!(value, Value::Object(_)) {
            bail!("the configuration is no JSON object");
        }
        let configuration = Self(value);
        let wrong: Vec<_> = required
            .iter()
            .filter_map(|(key, kind)| configuration.lacks(key, *kind))
            .collect();
        if wrong.is_empty() {
            return Ok(configuration);
        }
        let more = match wrong.len().saturating_sub(SAID) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let said: Vec<_> = wrong.into_iter().take(SAID).collect();
        bail!(
            "the hub's configuration cannot be used: {}{more}",
            said.join(", ")
        );
    }

    /// Refuses itself if one of these keys is there and not what it should be.
    pub(super) fn if_there(self, optional: &BTreeMap<String, Kind>) -> anyhow::Result<Self> {
        for (key, kind) in optional {
            if self.value(key).is_some()
                && let Some(wrong) = self.lacks(key, *kind)
            {
                bail!("the hub's configuration cannot be used: {wrong}");
            }
        }
        Ok(self)
    }

    /// The value of a switch.
    pub(super) fn is_on(&self, switch: &Switch) -> bool {
        let value = self.value(&switch.when).and_then(Value::as_bool);
        value.unwrap_or(switch.default)
    }

    /// All of it, for templates.
    pub(super) fn values(&self) -> &Value {
        &self.0
    }

    /// What is wrong with a key, if anything.
    fn lacks(&self, key: &str, kind: Kind) -> Option<String> {
        let encoded = match kind {
            Kind::Text => self.value(&format!("{key}{ENCODED}")),
            _ => None,
        };
        let value = match (self.value(key), encoded) {
            (Some(value), None) => value,
            (None, None) => return Some(format!("{key} is missing")),
            (None, Some(encoded)) => {
                let decodes = encoded.as_str().is_some_and(|text| {
                    let decoded = BASE64_STANDARD.decode(text);
                    decoded.is_ok_and(|bytes| !bytes.is_empty())
                });
                return (!decodes).then(|| format!("{key}{ENCODED} is no base64, or of nothing"));
            }
            (Some(_), Some(_)) => {
                return Some(format!("{key} and {key}{ENCODED} are both there"));
            }
        };
        let is_right = match kind {
            Kind::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Kind::Address => parse::<IpAddr>(value),
            Kind::Name => value
                .as_str()
                .is_some_and(|text| !text.ends_with('.') && DnsName::try_from(text).is_ok()),
            Kind::Number => value.is_number(),
            Kind::Count => value.is_u64() || value.as_str().is_some_and(is_count),
            Kind::Boolean => value.is_boolean(),
            Kind::List => value.is_array(),
            Kind::Object => value.is_object(),
        };
        (!is_right).then(|| format!("{key} is not {}", kind.describe()))
    }

    /// The value of a key whose parts are separated by dots.
    fn value(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.0, |at, part| at.get(part))
    }

    /// The text of a key, also one that is given in base64; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It is no text.
    pub(super) fn text(&self, key: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
        if let Some(value) = self.value(key) {
            let text = value
                .as_str()
                .with_context(|| format!("{key} is no text"))?;
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
        let encoded = format!("{key}{ENCODED}");
        let Some(value) = self.value(&encoded) else {
            return Ok(None);
        };
        let bytes = value.as_str().map(|text| BASE64_STANDARD.decode(text));
        let mut bytes = bytes.and_then(Result::ok).map(Zeroizing::new);
        let text = bytes
            .as_mut()
            .map(|bytes| String::from_utf8(std::mem::take(&mut **bytes)));
        let text = text.with_context(|| format!("{encoded} is no base64"))?;
        // The error would have the bytes.
        let text = text.map_err(|_| anyhow::anyhow!("{encoded} is no text"))?;
        Ok(Some(Zeroizing::new(text)))
    }

    /// The names that the node's certificate has, by the keys that hold them.
    ///
    /// # Errors
    ///
    /// A key is missing, or what it holds is no name.
    pub(super) fn names(&self, keys: &[String]) -> anyhow::Result<Vec<ServerName<'static>>> {
        let name = |key: &String| {
            let text = self.value(key).and_then(Value::as_str);
            let text = text.with_context(|| format!("{key} is missing, or no text"))?;
            ServerName::try_from(text.to_owned())
                .with_context(|| format!("{key} is neither a DNS name nor an IP address"))
        };
        keys.iter().map(name).collect()
    }

    /// Top-level members in which two configurations differ.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let keys = |it: &Self| -> Vec<String> {
            let members = it.0.as_object();
            members.map_or_else(Vec::new, |members| members.keys().cloned().collect())
        };
        let mut all = keys(self);
        all.extend(keys(other));
        all.sort();
        all.dedup();
        all.retain(|key| self.0.get(key) != other.0.get(key));
        for key in &mut all {
            *key = key.chars().take(LONGEST_SAID).collect();
        }
        all
    }
}

fn parse<T: std::str::FromStr>(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<T>().is_ok())
}

/// Whether all of it is digits: other ways to write a number are read in other ways by some.
fn is_count(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

impl Kind {
    fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text that is not empty",
            Self::Address => "an IP address",
            Self::Name => "a DNS name",
            Self::Number => "a number",
            Self::Count => "a whole number",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

#[cfg(test)]
mod tests;
