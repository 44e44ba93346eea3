//! Reads published lists of reference values.
//!
//! I/O: none.

use std::collections::BTreeMap;

use super::json::{Json, item_place, key};
use super::{AttestationType, ReferenceError, ReferenceValues, RegisterValue};

/// Largest list that is parsed: 16 MiB, a thousand times the largest published one.
const MAX_SIZE: usize = 16 << 20;

impl ReferenceValues {
    /// Parses one object, a list of objects, or the older form of an object
    /// `{measurement_id: {index: …}}`, whose values are those of Azure's TDX machines.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`], which names the place, for anything that could be read in two ways or
    /// would accept every machine: keys that are there twice, values of the wrong length, names
    /// of registers that there are not, empty lists and maps.
    pub fn parse(text: &str) -> Result<Vec<Self>, ReferenceError> {
        if text.len() > MAX_SIZE {
            return Err(ReferenceError::TooLarge {
                limit: MAX_SIZE,
                actual: text.len(),
            });
        }
        match Json::parse(text)? {
            Json::List(entries) if entries.is_empty() => Err(ReferenceError::Empty {
                place: "the list".to_owned(),
                expected: "entry",
            }),
            Json::List(entries) => entries
                .iter()
                .enumerate()
                .map(|(index, entry)| parse_entry(entry, &item_place("", index)))
                .collect(),
            Json::Object(fields) if is_legacy(&fields) => fields
                .iter()
                .map(|(id, registers)| parse_legacy(id, registers))
                .collect(),
            entry @ Json::Object(_) => Ok(vec![parse_entry(&entry, "")?]),
            other => Err(unexpected(
                "the document",
                "an object or a list",
                Some(&other),
            )),
        }
    }
}

/// An object that has none of an entry's fields names its entries by its keys.
fn is_legacy(fields: &[(String, Json)]) -> bool {
    let known = ["measurement_id", "attestation_type", "measurements"];
    let is_known = |(name, _): &(String, Json)| known.contains(&name.as_str());
    !fields.is_empty() && !fields.iter().any(is_known)
}

fn parse_legacy(id: &str, registers: &Json) -> Result<ReferenceValues, ReferenceError> {
    let place = key("", id);
    let attestation_type = AttestationType::AzureTdx;
    let Json::Object(fields) = registers else {
        return Err(unexpected(&place, "an object", Some(registers)));
    };
    Ok(ReferenceValues {
        measurement_id: id.to_owned(),
        attestation_type,
        registers: parse_registers(fields, attestation_type, &place)?,
    })
}

fn parse_entry(entry: &Json, place: &str) -> Result<ReferenceValues, ReferenceError> {
    if !matches!(entry, Json::Object(_)) {
        return Err(unexpected(place, "an object", Some(entry)));
    }
    let text = |name: &str| match entry.field(name) {
        Some(Json::Text(text)) => Ok(text),
        other => Err(unexpected(&key(place, name), "a string", other)),
    };
    let measurement_id = text("measurement_id")?.clone();
    let name = text("attestation_type")?;
    let attestation_type = AttestationType::from_name(name).ok_or_else(|| {
        let place = key(place, "attestation_type");
        ReferenceError::AttestationType {
            place,
            actual: name.clone(),
        }
    })?;
    let place = key(place, "measurements");
    let registers = match entry.field("measurements") {
        Some(Json::Object(fields)) => parse_registers(fields, attestation_type, &place)?,
        other => return Err(unexpected(&place, "an object", other)),
    };
    Ok(ReferenceValues {
        measurement_id,
        attestation_type,
        registers,
    })
}

fn parse_registers(
    fields: &[(String, Json)],
    attestation_type: AttestationType,
    place: &str,
) -> Result<BTreeMap<u8, Vec<RegisterValue>>, ReferenceError> {
    let mut registers = BTreeMap::new();
    for (name, value) in fields {
        let place = key(place, name);
        let Some(index) = attestation_type.register(name) else {
            return Err(ReferenceError::UnknownRegister {
                place,
                attestation_type,
            });
        };
        let values = parse_expected(value, attestation_type, &place)?;
        // "4" and "pcr4" are one register.
        if registers.insert(index, values).is_some() {
            return Err(ReferenceError::DuplicateKey { place });
        }
    }
    if registers.is_empty() {
        return Err(ReferenceError::Empty {
            place: place.to_owned(),
            expected: "register",
        });
    }
    Ok(registers)
}

fn parse_expected(
    value: &Json,
    attestation_type: AttestationType,
    place: &str,
) -> Result<Vec<RegisterValue>, ReferenceError> {
    let parse = |hex: &str, place: &str| {
        attestation_type
            .value(hex)
            .map_err(|source| ReferenceError::Value {
                place: place.to_owned(),
                attestation_type,
                source,
            })
    };
    if let Json::Text(hex) = value {
        return Ok(vec![parse(hex, place)?]);
    }
    match (value.field("expected"), value.field("expected_any")) {
        (Some(Json::Text(hex)), None) => Ok(vec![parse(hex, &key(place, "expected"))?]),
        (None, Some(Json::List(items))) => {
            let place = key(place, "expected_any");
            if items.is_empty() {
                return Err(ReferenceError::Empty {
                    place,
                    expected: "value",
                });
            }
            let items = items.iter().enumerate();
            items
                .map(|(index, item)| match (item, item_place(&place, index)) {
                    (Json::Text(hex), place) => parse(hex, &place),
                    (other, place) => Err(unexpected(&place, "a string", Some(other))),
                })
                .collect()
        }
        (Some(_), Some(_)) => Err(unexpected(
            place,
            "either expected or expected_any",
            Some(value),
        )),
        (Some(other), None) => Err(unexpected(&key(place, "expected"), "a string", Some(other))),
        (None, Some(other)) => Err(unexpected(
            &key(place, "expected_any"),
            "a list",
            Some(other),
        )),
        (None, None) => Err(unexpected(
            place,
            "expected, expected_any or a string",
            Some(value),
        )),
    }
}

fn unexpected(place: &str, expected: &'static str, actual: Option<&Json>) -> ReferenceError {
    let actual = actual.map_or("nothing", Json::kind);
    let place = if place.is_empty() {
        "the document"
    } else {
        place
    };
    ReferenceError::Unexpected {
        place: place.to_owned(),
        expected,
        actual,
    }
}
