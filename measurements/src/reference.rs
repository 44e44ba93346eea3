//! Reference values: what images are published to measure to.
//!
//! The form is the one that existing hubs and proxies exchange: an object, or a list of objects,
//! `{"measurement_id", "attestation_type", "measurements": {index: {"expected": hex}}}`, also with
//! `"expected_any": [hex, …]` or a bare hex string in place of `{"expected": …}`; older files are
//! objects `{measurement_id: {index: …}}`. Registers may be named (`pcr4`, `rtmr1`). Fields that are
//! not known are passed over; what is known is taken strictly, and no list is ever read as
//! "anything goes". What a list proves depends on where it comes from: it must be trusted.
//!
//! Left out: `warnOnly` (all values are enforced), and `dcap_image_hashes`.
//!
//! I/O: none.

mod compare;
mod json;
mod read;

use std::collections::BTreeMap;
use std::fmt;

pub use compare::{RegisterMatch, Verdict};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::tdx::TdxPrediction;
use crate::{DigestParseError, Prediction, Sha256Digest, Sha384Digest};

/// What one image is published to measure to on one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceValues {
    /// The image's name, as its publisher calls it.
    pub measurement_id: String,
    /// The kind of machine; it says what the registers' indices mean.
    pub attestation_type: AttestationType,
    /// By index, the values of which a register must have one. Neither map nor lists are empty.
    pub registers: BTreeMap<u8, Vec<RegisterValue>>,
}

/// A kind of evidence, spelled as published files spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AttestationType {
    /// A TDX machine of Azure with its vTPM: PCR 0 to 23, SHA-256.
    AzureTdx,
    /// A TDX machine with a bare TD quote: 0 is MRTD, 1 to 4 are RTMR 0 to 3, SHA-384. Also
    /// spelled `qemu-tdx`.
    DcapTdx,
    /// The same of Google's cloud.
    GcpTdx,
}

/// The value of a register, of the size that its machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterValue {
    /// A PCR of the SHA-256 bank.
    Sha256(Sha256Digest),
    /// A TDX register.
    Sha384(Sha384Digest),
}

/// Why a text is not a list of reference values. Every variant names the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It is not JSON.
    #[error("the reference values are not JSON")]
    Syntax(#[from] serde_json::Error),
    /// Larger than any list.
    #[error("expected at most {limit} bytes, got {actual}")]
    TooLarge {
        /// Most that is parsed.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// A key is there twice; readers differ in which one they take.
    #[error("{place}: the key is there twice")]
    DuplicateKey {
        /// Where.
        place: String,
    },
    /// A field is missing or of the wrong type.
    #[error("{place}: expected {expected}, got {actual}")]
    Unexpected {
        /// Where.
        place: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        actual: &'static str,
    },
    /// A machine of this kind is not known.
    #[error("{place}: expected azure-tdx, dcap-tdx, qemu-tdx or gcp-tdx, got {actual:?}")]
    AttestationType {
        /// Where.
        place: String,
        /// What is there.
        actual: String,
    },
    /// A machine of this kind has no such register.
    #[error("{place}: {attestation_type} has no register of this name")]
    UnknownRegister {
        /// Where.
        place: String,
        /// The kind of machine.
        attestation_type: AttestationType,
    },
    /// There is nothing where a value is needed. No value would mean that any is accepted.
    #[error("{place}: expected at least one {expected}, got none")]
    Empty {
        /// Where.
        place: String,
        /// Of what.
        expected: &'static str,
    },
    /// A value is not hex, or of another length than registers of this kind of machine.
    #[error("{place}: not a value of an {attestation_type} register")]
    Value {
        /// Where.
        place: String,
        /// The kind of machine.
        attestation_type: AttestationType,
        /// What is wrong with it.
        source: DigestParseError,
    },
}

impl ReferenceValues {
    /// Makes the reference values of an image out of what it is predicted to measure to.
    pub fn from_prediction(
        measurement_id: impl Into<String>,
        attestation_type: AttestationType,
        prediction: &Prediction,
    ) -> Self {
        let value = |value| vec![RegisterValue::Sha256(value)];
        let registers = prediction.registers.iter();
        Self {
            measurement_id: measurement_id.into(),
            attestation_type,
            registers: registers
                .map(|(index, register)| (*index, value(register.value.sha256)))
                .collect(),
        }
    }

    /// Makes the reference values of an image in a TDX guest without a vTPM out of what it is
    /// predicted to measure to.
    ///
    /// [`ReferenceValues::registers`] is empty if nothing is known; such values are for nobody.
    pub fn from_tdx_prediction(
        measurement_id: impl Into<String>,
        attestation_type: AttestationType,
        prediction: &TdxPrediction,
    ) -> Self {
        let value = |value| vec![RegisterValue::Sha384(value)];
        let mrtd = prediction.mrtd.map(|mrtd| (0, value(mrtd)));
        // Index 0 is MRTD, so that an RTMR comes one later.
        let rtmrs = prediction.registers.iter();
        let rtmrs =
            rtmrs.map(|(number, rtmr)| (number.saturating_add(1), value(rtmr.value.sha384)));
        Self {
            measurement_id: measurement_id.into(),
            attestation_type,
            registers: mrtd.into_iter().chain(rtmrs).collect(),
        }
    }

    /// The published form: pretty-printed, registers in numeric order, one newline at the end.
    pub fn to_json(&self) -> String {
        // Serialization of strings and maps of strings to a string has nothing to fail with.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

impl AttestationType {
    /// The spelling in published files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AzureTdx => "azure-tdx",
            Self::DcapTdx => "dcap-tdx",
            Self::GcpTdx => "gcp-tdx",
        }
    }

    /// Reads a published spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "azure-tdx" => Some(Self::AzureTdx),
            "dcap-tdx" | "qemu-tdx" => Some(Self::DcapTdx),
            "gcp-tdx" => Some(Self::GcpTdx),
            _ => None,
        }
    }

    /// Reads a register's name: its index, or (without regard to case) `pcr4`, `mrtd`, `rtmr0`.
    fn register(self, name: &str) -> Option<u8> {
        let number = |text: &str| {
            let is_canonical = text == "0" || !text.starts_with(['0', '+']);
            text.parse::<u8>().ok().filter(|_| is_canonical)
        };
        let lower = name.to_ascii_lowercase();
        let named = match self {
            Self::AzureTdx => lower.strip_prefix("pcr").and_then(number),
            Self::DcapTdx | Self::GcpTdx if lower == "mrtd" => Some(0),
            Self::DcapTdx | Self::GcpTdx => lower
                .strip_prefix("rtmr")
                .and_then(number)
                .and_then(|n| n.checked_add(1)),
        };
        let last = match self {
            Self::AzureTdx => 23,
            Self::DcapTdx | Self::GcpTdx => 4,
        };
        named
            .or_else(|| number(name))
            .filter(|index| *index <= last)
    }

    fn value(self, hex: &str) -> Result<RegisterValue, DigestParseError> {
        match self {
            Self::AzureTdx => hex.parse().map(RegisterValue::Sha256),
            Self::DcapTdx | Self::GcpTdx => hex.parse().map(RegisterValue::Sha384),
        }
    }
}

impl fmt::Display for AttestationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RegisterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha384(digest) => digest.fmt(f),
        }
    }
}

impl Serialize for ReferenceValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let expected: BTreeMap<u8, Expected<'_>> = self
            .registers
            .iter()
            .map(|(index, values)| (*index, Expected(values)))
            .collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("measurement_id", &self.measurement_id)?;
        map.serialize_entry("attestation_type", self.attestation_type.as_str())?;
        map.serialize_entry("measurements", &expected)?;
        map.end()
    }
}

/// `{"expected": hex}` for one value, `{"expected_any": [hex, …]}` for several.
struct Expected<'a>(&'a [RegisterValue]);

impl Serialize for Expected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values: Vec<String> = self.0.iter().map(RegisterValue::to_string).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        match values.as_slice() {
            [value] => map.serialize_entry("expected", value)?,
            several => map.serialize_entry("expected_any", several)?,
        }
        map.end()
    }
}
