//! The JSON metadata as types: unknown, missing and doubled members are errors.
//!
//! I/O: none.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::HeaderError;

/// The whole.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) keyslots: Numbered<Keyslot>,
    pub(super) tokens: Numbered<IgnoredAny>,
    pub(super) segments: Numbered<Segment>,
    pub(super) digests: Numbered<Digest>,
    pub(super) config: Config,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keyslot {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) key_size: u64,
    pub(super) af: AntiForensic,
    pub(super) area: Area,
    pub(super) kdf: Kdf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AntiForensic {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) stripes: u64,
    pub(super) hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Area {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) offset: Decimal,
    pub(super) size: Decimal,
    pub(super) encryption: String,
    pub(super) key_size: u64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Kdf {
    Pbkdf2 {
        hash: String,
        iterations: u64,
        salt: String,
    },
    Argon2id {
        time: u64,
        memory: u64,
        cpus: u64,
        salt: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) offset: Decimal,
    pub(super) size: String,
    pub(super) iv_tweak: Decimal,
    pub(super) encryption: String,
    pub(super) sector_size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Digest {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) keyslots: Vec<String>,
    pub(super) segments: Vec<String>,
    pub(super) hash: String,
    pub(super) iterations: u64,
    pub(super) salt: String,
    pub(super) digest: String,
}

/// Flags and requirements are optional in the specification, and unknown here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) json_size: Decimal,
    pub(super) keyslots_size: Decimal,
}

/// Reads a JSON area: one object, then zeros.
pub(super) fn parse(area: &[u8]) -> Result<Metadata, HeaderError> {
    let end = area.iter().position(|byte| *byte == 0);
    let (json, rest) = area
        .split_at_checked(end.unwrap_or(area.len()))
        .unwrap_or_default();
    if rest.is_empty() || rest.iter().any(|byte| *byte != 0) {
        return Err(HeaderError::Trailing);
    }
    serde_json::from_slice(json).map_err(|error| {
        // It may repeat the disk's text.
        let text = error.to_string();
        HeaderError::Json(
            text.chars()
                .take(200)
                .collect::<String>()
                .escape_debug()
                .to_string(),
        )
    })
}

/// A number as the format writes it when it may be large: digits in a string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) u64);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse::<u64>().ok();
        // No sign, no leading zero: nothing that two readers could understand differently.
        number
            .filter(|number| number.to_string() == text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a decimal number in a string"))
    }
}

/// An object whose members are numbers, each of them once.
pub(super) struct Numbered<T>(pub(super) Vec<(u8, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Numbered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NumberedVisitor(PhantomData))
    }
}

struct NumberedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NumberedVisitor<T> {
    type Value = Numbered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with numbers as names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(u8, T)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<Decimal, T>()? {
            let number = u8::try_from(name.0).map_err(|_| de::Error::custom("number too large"))?;
            if members.iter().any(|(other, _)| *other == number) {
                return Err(de::Error::custom("the same number twice"));
            }
            members.push((number, value));
        }
        Ok(Numbered(members))
    }
}
