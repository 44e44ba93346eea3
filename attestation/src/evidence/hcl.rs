//! The HCL report: what Azure's paravisor wraps around a TD report, and the runtime data in it,
//! which name the vTPM's AK.
//!
//! Understood are reports of TDX machines whose runtime data are hashed with SHA-256. Left out:
//! the TD report in it but for its report data; the TD quote says the same, and signed.
//!
//! I/O: none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::tpm_quote::{AkError, AkPublic};

/// Largest report: an NV index of Azure's vTPM has 2,600 bytes.
const MAX_REPORT: usize = 8 << 10;

/// Largest runtime data within it.
const MAX_RUNTIME_DATA: usize = 4 << 10;

/// Where fields are, in bytes from the start; numbers are little endian.
mod at {
    pub(super) const SIGNATURE: usize = 0;
    pub(super) const VERSION: usize = 4;
    pub(super) const REQUEST_TYPE: usize = 12;
    /// The TD report begins at 32 and has its report data at 128.
    pub(super) const REPORT_DATA: usize = 160;
    pub(super) const DATA_VERSION: usize = 1220;
    pub(super) const REPORT_TYPE: usize = 1224;
    pub(super) const HASH_TYPE: usize = 1228;
    pub(super) const DATA_SIZE: usize = 1232;
    pub(super) const DATA: usize = 1236;
}

/// An HCL report of a TDX machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HclReport<'a> {
    /// Report data of the TD report.
    pub report_data: [u8; 64],
    /// The runtime data, JSON.
    pub runtime_data: &'a [u8],
}

/// Why bytes are not an HCL report with runtime data that name an AK.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HclError {
    /// It ends too early.
    #[error("ends within {field}")]
    Truncated {
        /// In which field.
        field: &'static str,
    },
    /// It, or its runtime data, are larger than they ever are.
    #[error("{field} has {actual} bytes, expected at most {most}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// Most that is accepted.
        most: usize,
        /// What it has.
        actual: usize,
    },
    /// A field that must have one value has another.
    #[error("{field} is {actual:#x}, expected {expected:#x}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: u32,
        /// What it is.
        actual: u32,
    },
    /// The runtime data are not JSON of the expected form.
    #[error("the runtime data are malformed")]
    RuntimeData(#[source] serde_json::Error),
    /// There must be one key `HCLAkPub`, or it is not clear which one counts.
    #[error("the runtime data have {actual} keys HCLAkPub, expected 1")]
    AkKeys {
        /// How many there are.
        actual: usize,
    },
    /// The key `HCLAkPub` is not an RSA key.
    #[error("the key HCLAkPub is of type {actual:?}, expected \"RSA\"")]
    KeyType {
        /// What it is.
        actual: String,
    },
    /// The key's numbers are missing or not base64url.
    #[error("the key HCLAkPub is malformed")]
    KeyEncoding,
    /// The key is no attestation key.
    #[error("the key HCLAkPub cannot be used")]
    Key(#[source] AkError),
    /// The user data are not 64 bytes, in hex.
    #[error("the user data of the runtime data are not 128 hex digits")]
    UserData,
}

impl<'a> HclReport<'a> {
    /// Parses a report as Azure's vTPM keeps it at NV index 0x01400001.
    ///
    /// # Errors
    ///
    /// [`HclError`], of the kinds that are about the report itself.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HclError> {
        bounded("HCL report", bytes.len(), MAX_REPORT)?;
        // "HCLA" as a number, version 2, a report, of version 1, of TDX, hashed with SHA-256.
        for (field, offset, expected) in [
            ("signature", at::SIGNATURE, 0x414c_4348),
            ("version", at::VERSION, 2),
            ("request_type", at::REQUEST_TYPE, 2),
            ("data version", at::DATA_VERSION, 1),
            ("report_type", at::REPORT_TYPE, 4),
            ("hash_type", at::HASH_TYPE, 1),
        ] {
            let actual = number(bytes, field, offset)?;
            if actual != expected {
                return Err(HclError::Value {
                    field,
                    expected,
                    actual,
                });
            }
        }
        let size = number(bytes, "variable_data_size", at::DATA_SIZE)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        bounded("runtime data", size, MAX_RUNTIME_DATA)?;
        let field = "runtime data";
        let data = bytes.get(at::DATA..).unwrap_or_default();
        Ok(Self {
            report_data: *chunk(bytes, "report data", at::REPORT_DATA)?,
            runtime_data: data.get(..size).ok_or(HclError::Truncated { field })?,
        })
    }
}

/// What runtime data say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeData {
    /// The vTPM's AK.
    pub ak: AkPublic,
    /// What the guest had mixed in; `None` if it did not.
    pub user_data: Option<[u8; 64]>,
}

#[derive(Deserialize)]
struct Json {
    keys: Vec<Key>,
    #[serde(rename = "user-data", default)]
    user_data: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
}

impl RuntimeData {
    /// Parses runtime data and takes the AK out of them.
    ///
    /// They are only as true as the TD quote that carries their hash.
    ///
    /// # Errors
    ///
    /// [`HclError`], of the kinds that are about runtime data.
    pub fn parse(bytes: &[u8]) -> Result<Self, HclError> {
        bounded("runtime data", bytes.len(), MAX_RUNTIME_DATA)?;
        let json: Json = serde_json::from_slice(bytes).map_err(HclError::RuntimeData)?;
        let keys: Vec<&Key> = json
            .keys
            .iter()
            .filter(|key| key.kid == "HCLAkPub")
            .collect();
        let [key] = keys.as_slice() else {
            let actual = keys.len();
            return Err(HclError::AkKeys { actual });
        };
        let user_data = json.user_data.as_deref();
        Ok(Self {
            ak: key.to_ak()?,
            user_data: user_data.map(parse_user_data).transpose()?,
        })
    }
}

impl Key {
    fn to_ak(&self) -> Result<AkPublic, HclError> {
        if self.kty != "RSA" {
            let actual = self.kty.clone();
            return Err(HclError::KeyType { actual });
        }
        let number = |text: &Option<String>| {
            let text = text.as_deref().ok_or(HclError::KeyEncoding)?;
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| HclError::KeyEncoding)
        };
        AkPublic::from_rsa(&number(&self.n)?, &number(&self.e)?).map_err(HclError::Key)
    }
}

fn parse_user_data(hex: &str) -> Result<[u8; 64], HclError> {
    hex.parse::<measurements::Digest<64>>()
        .map(|digest| digest.0)
        .map_err(|_| HclError::UserData)
}

fn bounded(field: &'static str, actual: usize, most: usize) -> Result<(), HclError> {
    if actual > most {
        return Err(HclError::TooLarge {
            field,
            most,
            actual,
        });
    }
    Ok(())
}

fn chunk<'a, const N: usize>(
    bytes: &'a [u8],
    field: &'static str,
    offset: usize,
) -> Result<&'a [u8; N], HclError> {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(HclError::Truncated { field })
}

fn number(bytes: &[u8], field: &'static str, offset: usize) -> Result<u32, HclError> {
    chunk(bytes, field, offset).map(|bytes| u32::from_le_bytes(*bytes))
}
