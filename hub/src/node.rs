//! Who a node is: what it runs, and where it is.
//!
//! Made by whichever front accepted the request: out of the headers that a trusted proxy set
//! ([`NodeIdentity::from_headers`]), or out of evidence that was verified
//! ([`NodeIdentity::verified`]). What follows doesn't know which.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use attestation::Verified;
use hyper::HeaderMap;
use serde_json::Value;

/// Longest map of registers that is read.
const MAX_REGISTERS: usize = 64 << 10;

/// What is known of the sender of a request, before the database was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeIdentity {
    /// The kind of evidence, as whitelist entries spell it.
    pub(crate) attestation_type: String,
    /// What it runs: register index to lower-case hexadecimal digits.
    pub(crate) registers: BTreeMap<String, String>,
    /// Where it is.
    pub(crate) address: IpAddr,
}

impl NodeIdentity {
    /// What a node at `address` has proven.
    pub(crate) fn verified(verified: &Verified, address: IpAddr) -> Self {
        let registers = verified.registers().iter();
        Self {
            attestation_type: verified.kind().name().to_owned(),
            registers: registers
                .map(|(index, value)| (index.to_string(), value.to_string()))
                .collect(),
            address,
        }
    }

    /// Reads what a proxy in front, which verified the evidence, says of the node. The address is
    /// the last one of the last `X-Forwarded-For`: the proxy's own entry.
    ///
    /// `None` if anything is missing or malformed. It proves something only if nobody but the proxy
    /// can send such a request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let attestation_type = text("x-flashbots-attestation-type")?;
        let registers = text("x-flashbots-measurement")?;
        if attestation_type.is_empty() || registers.len() > MAX_REGISTERS {
            return None;
        }
        let Ok(Value::Object(registers)) = serde_json::from_str(registers) else {
            return None;
        };
        let registers = registers.into_iter().map(|(index, value)| match value {
            Value::String(value) => Some((index, value)),
            _ => None,
        });
        let registers = registers.collect::<Option<_>>()?;
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()?
            .to_str()
            .ok()?;
        let address = forwarded
            .rsplit(',')
            .next()?
            .trim()
            .parse::<IpAddr>()
            .ok()?;
        let attestation_type = attestation_type.to_owned();
        Some(Self {
            attestation_type,
            registers,
            address: address.to_canonical(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const TYPE: (&str, &str) = ("X-Flashbots-Attestation-Type", "azure-tdx");
    const REGISTERS: (&str, &str) = ("X-Flashbots-Measurement", r#"{"4":"ab"}"#);
    const FROM: (&str, &str) = ("X-Forwarded-For", "1.2.3.4");

    #[test]
    fn a_proxys_headers_are_read() {
        let identity = NodeIdentity::from_headers(&headers(&[TYPE, REGISTERS, FROM])).unwrap();
        assert_eq!(identity.attestation_type, "azure-tdx");
        assert_eq!(
            identity.registers,
            BTreeMap::from([("4".to_owned(), "ab".to_owned())])
        );
        assert_eq!(identity.address, IpAddr::from([1, 2, 3, 4]));
    }

    #[test]
    fn the_address_is_the_last_element_of_the_last_header() {
        for (lines, expected) in [
            (vec!["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            (vec!["9.9.9.9", "8.8.8.8 ,  1.2.3.4 "], "1.2.3.4"),
            (vec!["2001:db8::1"], "2001:db8::1"),
            (vec!["::ffff:1.2.3.4"], "1.2.3.4"),
        ] {
            let mut all = vec![TYPE, REGISTERS];
            all.extend(lines.iter().map(|line| ("X-Forwarded-For", *line)));
            let identity = NodeIdentity::from_headers(&headers(&all)).unwrap();
            assert_eq!(identity.address.to_string(), expected);
        }
    }

    #[test]
    fn whatever_is_missing_or_malformed_makes_nobody() {
        for lines in [
            vec![REGISTERS, FROM],
            vec![TYPE, FROM],
            vec![TYPE, REGISTERS],
            vec![("X-Flashbots-Attestation-Type", ""), REGISTERS, FROM],
            vec![TYPE, ("X-Flashbots-Measurement", "{"), FROM],
            vec![TYPE, ("X-Flashbots-Measurement", "[]"), FROM],
            vec![TYPE, ("X-Flashbots-Measurement", r#"{"4":1}"#), FROM],
            vec![TYPE, REGISTERS, ("X-Forwarded-For", "1.2.3.4,")],
            vec![TYPE, REGISTERS, ("X-Forwarded-For", "1.2.3.4:80")],
            vec![TYPE, REGISTERS, ("X-Forwarded-For", "1.2.3.4, unknown")],
            vec![TYPE, REGISTERS, FROM, ("X-Forwarded-For", "")],
        ] {
            assert_eq!(
                NodeIdentity::from_headers(&headers(&lines)),
                None,
                "{lines:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(registers in "[ -~]{0,40}", from in "[ -~]{0,40}") {
            let lines = [TYPE, ("X-Flashbots-Measurement", &registers), ("X-Forwarded-For", &from)];
            NodeIdentity::from_headers(&headers(&lines));
        }
    }
}
