//! Whether what a node presents is what a whitelist entry expects.
//!
//! Exactly the rule of existing hubs: every register that the entry names has to be presented and to
//! equal one of its expected values, as text; registers that it doesn't name are ignored.
//! `expected_any`, if it isn't empty, counts instead of `expected`; a register with neither never
//! matches. An entry that names no register matches everything, which is why activating one takes an
//! explicit option (see `records::measurements`).
//!
//! I/O: none.

use std::collections::BTreeMap;

use measurements::reference::{AttestationType, ReferenceValues};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most registers of an entry, and most values of a register.
const MAX_VALUES: usize = 1000;

/// A whitelist entry's registers, by index as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Expectation(BTreeMap<String, Expected>);

/// The values of which a register must have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    expected: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expected_any: Vec<String>,
}

impl Expectation {
    /// Reads the `measurements` of an entry of the given kind.
    ///
    /// Of the kinds that we can verify it takes published spellings too (`pcr4`, bare values,
    /// upper case) and stores the usual one, and refuses values that no register can have; an
    /// empty map stays one.
    ///
    /// # Errors
    ///
    /// What is wrong, with its place, for the admin.
    pub(crate) fn parse(attestation_type: &str, measurements: &Value) -> Result<Self, String> {
        let is_empty = measurements
            .as_object()
            .is_some_and(serde_json::Map::is_empty);
        if AttestationType::from_name(attestation_type).is_none() || is_empty {
            let parsed: Self =
                serde_json::from_value(measurements.clone()).map_err(|error| error.to_string())?;
            let values = parsed
                .0
                .values()
                .map(|expected| expected.expected_any.len());
            if parsed.0.len() > MAX_VALUES || values.max() > Some(MAX_VALUES) {
                return Err(format!(
                    "expected at most {MAX_VALUES} registers and values of each"
                ));
            }
            return Ok(parsed);
        }
        let entry = json!({
            "measurement_id": "measurements",
            "attestation_type": attestation_type,
            "measurements": measurements,
        });
        let values = ReferenceValues::parse(&entry.to_string());
        let values = values.map_err(|error| error.to_string())?;
        let usual = values.first().map(serde_json::to_value).transpose();
        let usual = usual.map_err(|error| error.to_string())?;
        let usual = usual.and_then(|entry| entry.get("measurements").cloned());
        serde_json::from_value(usual.unwrap_or_default()).map_err(|error| error.to_string())
    }

    /// Whether it names no register, so that everything matches.
    pub(crate) fn is_anything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a node with these registers is expected.
    pub(crate) fn matches(&self, presented: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(register, expected)| {
            presented
                .get(register)
                .is_some_and(|value| expected.contains(value))
        })
    }
}

impl Expected {
    fn contains(&self, value: &str) -> bool {
        if self.expected_any.is_empty() {
            return !self.expected.is_empty() && self.expected == value;
        }
        self.expected_any.iter().any(|expected| expected == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn presented(registers: &[(&str, &str)]) -> BTreeMap<String, String> {
        registers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn matches(expectation: Value, registers: &[(&str, &str)]) -> bool {
        let expectation = Expectation::parse("test", &expectation).unwrap();
        expectation.matches(&presented(registers))
    }

    #[test]
    fn every_named_register_has_to_be_there_and_equal() {
        let expectation = || json!({"4": {"expected": "ab"}, "9": {"expected": "cd"}});
        assert!(matches(
            expectation(),
            &[("4", "ab"), ("9", "cd"), ("10", "anything")]
        ));
        assert!(!matches(expectation(), &[("4", "ab"), ("9", "ce")]));
        assert!(!matches(expectation(), &[("4", "ab")]));
        assert!(!matches(expectation(), &[("4", "AB"), ("9", "cd")]));
        assert!(!matches(expectation(), &[]));
    }

    #[test]
    fn any_of_several_counts_before_the_single_one() {
        let expectation = || json!({"4": {"expected": "ab", "expected_any": ["x", "y"]}});
        assert!(matches(expectation(), &[("4", "y")]));
        assert!(!matches(expectation(), &[("4", "ab")]));
        assert!(matches(
            json!({"4": {"expected": "ab", "expected_any": []}}),
            &[("4", "ab")]
        ));
    }

    #[test]
    fn a_register_without_values_never_matches_and_no_register_always() {
        assert!(!matches(json!({"4": {}}), &[("4", "")]));
        assert!(!matches(json!({"4": {"expected": ""}}), &[("4", "")]));
        assert!(matches(json!({}), &[]));
        assert!(
            Expectation::parse("azure-tdx", &json!({}))
                .unwrap()
                .is_anything()
        );
    }

    #[test]
    fn known_kinds_are_read_strictly_and_stored_in_the_usual_form() {
        let digest = "AB".repeat(32);
        let parsed = Expectation::parse("azure-tdx", &json!({"pcr4": digest})).unwrap();
        assert!(parsed.matches(&presented(&[("4", &"ab".repeat(32))])));
        for wrong in [
            json!({"4": {"expected": "ab"}}),
            json!({"24": {"expected": digest}}),
            json!({"4": {}}),
            json!([]),
            json!("x"),
            json!(null),
        ] {
            assert!(Expectation::parse("azure-tdx", &wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn more_registers_never_turn_a_match_into_none(
            expected in prop::collection::btree_map("[0-9]", "[ab]{1,2}", 0..4),
            extra in prop::collection::btree_map("x[0-9]", "[ab]{1,2}", 0..4),
        ) {
            let entry: serde_json::Map<_, _> = expected.iter()
                .map(|(k, v)| (k.clone(), json!({"expected": v}))).collect();
            let entry = Expectation::parse("test", &Value::Object(entry)).unwrap();
            prop_assert!(entry.matches(&expected));
            let mut more = expected.clone();
            more.extend(extra);
            prop_assert!(entry.matches(&more));
            for register in expected.keys() {
                let mut fewer = expected.clone();
                fewer.remove(register);
                prop_assert!(!entry.matches(&fewer));
                let mut other = expected.clone();
                other.insert(register.clone(), "c".to_owned());
                prop_assert!(!entry.matches(&other));
            }
        }
    }
}
