//! Registers' values as Go writes them: an object whose keys are numbers.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::base64_text::{Base64, Standard};

/// Registers a TPM can select; the PC Client profile has 24.
const REGISTERS: u8 = 32;

/// Values by register. A key that is there twice or in another spelling is refused: readers
/// differ in which one they take.
pub(super) struct PcrMap(pub(super) BTreeMap<u8, Vec<u8>>);

impl Serialize for PcrMap {
    /// As Go sorts keys: as texts, so that `10` comes before `2`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let by_name: BTreeMap<String, Base64<Standard>> = self
            .0
            .iter()
            .map(|(register, value)| (register.to_string(), value.as_slice().into()))
            .collect();
        serializer.collect_map(by_name)
    }
}

impl<'de> Deserialize<'de> for PcrMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = PcrMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of registers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PcrMap, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Base64<Standard>>()? {
                    let Some(register) = register(&name) else {
                        return Err(A::Error::custom(format_args!("{name:?} is no register")));
                    };
                    if values.insert(register, value.0).is_some() {
                        return Err(A::Error::custom(format_args!("PCR {name} is there twice")));
                    }
                }
                Ok(PcrMap(values))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

fn register(name: &str) -> Option<u8> {
    let register = name.parse::<u8>().ok()?;
    (register < REGISTERS && register.to_string() == name).then_some(register)
}
