//! What of a verified peer goes into headers: which kind of machine it is, and what it measures.
//!
//! I/O: none.

use std::collections::BTreeMap;

use attestation::tls::{Nobody, VerifiedPeer};
use attestation::{Appraised, EvidenceKind, Proven, Verified};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use measurements::reference::RegisterValue;

/// The header that says what kind of machine the other side is.
pub const ATTESTATION_TYPE: HeaderName = HeaderName::from_static("x-flashbots-attestation-type");

/// The header that says what the other side measures, as a JSON object.
pub const MEASUREMENT: HeaderName = HeaderName::from_static("x-flashbots-measurement");

/// What was proven about a peer.
pub trait Claims: Send + Sync + 'static {
    /// What kind of machine it is.
    fn kind(&self) -> EvidenceKind;

    /// All its registers, whether anybody has compared them or not.
    fn registers(&self) -> &BTreeMap<u8, RegisterValue>;
}

impl Claims for Verified {
    fn kind(&self) -> EvidenceKind {
        self.kind()
    }

    fn registers(&self) -> &BTreeMap<u8, RegisterValue> {
        self.registers()
    }
}

impl Claims for Proven {
    fn kind(&self) -> EvidenceKind {
        self.verified.kind()
    }

    fn registers(&self) -> &BTreeMap<u8, RegisterValue> {
        self.verified.registers()
    }
}

impl Claims for Appraised {
    fn kind(&self) -> EvidenceKind {
        self.proven.kind()
    }

    fn registers(&self) -> &BTreeMap<u8, RegisterValue> {
        self.proven.registers()
    }
}

impl Claims for Nobody {
    fn kind(&self) -> EvidenceKind {
        match *self {}
    }

    fn registers(&self) -> &BTreeMap<u8, RegisterValue> {
        match *self {}
    }
}

/// Says in `headers` what was proven about `peer`, instead of whatever they say.
///
/// The type is spelled as the proxies of the peer's protocol spell it. The registers are compact
/// JSON, `{"0":"hex",…}`, lower case, keys sorted as strings.
pub fn describe<C: Claims>(peer: &VerifiedPeer<C>, headers: &mut HeaderMap) {
    let claims = peer.claims();
    let is_atls = peer.binding().user_data().is_some();
    let kind = match is_atls {
        true => claims.kind().variant_name(),
        false => claims.kind().name(),
    };
    headers.insert(ATTESTATION_TYPE, HeaderValue::from_static(kind));
    let registers = registers(claims.registers());
    // Digits and hex are visible ASCII, all of them.
    if let Ok(value) = HeaderValue::try_from(registers) {
        headers.insert(MEASUREMENT, value);
    }
}

fn registers(registers: &BTreeMap<u8, RegisterValue>) -> String {
    let named = registers.iter();
    let named = named.map(|(index, value)| (index.to_string(), value));
    let sorted: BTreeMap<String, &RegisterValue> = named.collect();
    let members: Vec<String> = sorted
        .into_iter()
        .map(|(index, value)| format!("\"{index}\":\"{value}\""))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_as_strings_and_values_are_lower_case_hex() {
        let value = |byte: u8| RegisterValue::Sha256(measurements::Digest([byte; 32]));
        let given = BTreeMap::from([(2, value(0xab)), (10, value(0x0f)), (1, value(0))]);
        let expected = format!(
            r#"{{"1":"{}","10":"{}","2":"{}"}}"#,
            "00".repeat(32),
            "0f".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(registers(&given), expected);
        let mrtd = RegisterValue::Sha384(measurements::Digest([0xcd; 48]));
        let expected = format!(r#"{{"0":"{}"}}"#, "cd".repeat(48));
        assert_eq!(registers(&BTreeMap::from([(0, mrtd)])), expected);
    }
}
