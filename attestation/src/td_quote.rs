//! TD quotes, versions 4 and 5: what the TDX module says of a machine, signed by a quoting
//! enclave.
//!
//! Layout: Intel "TDX DCAP Quoting Library API", A.3 and A.4. Parsed is what is appraised, and
//! whatever the verifying crate leaves unchecked around it. Nothing is verified here.
//!
//! I/O: none.

mod body;
mod reader;

pub use self::body::{TdBody, Tdx15};
use self::reader::Reader;

/// Largest PCK certificate chain; real ones have 3.7 kB.
const MAX_PCK_CHAIN: usize = 12 << 10;

/// `TEE_TYPE_TDX`.
const TEE_TYPE_TDX: u32 = 0x81;

/// ECDSA-256 with curve P-256, the only key type that quoting enclaves use.
const KEY_TYPE_P256: u32 = 2;

/// Intel's quoting enclaves.
const INTEL_QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Certification data that hold the QE report, and within them those that hold certificates.
const QE_REPORT_CERTIFICATION: u32 = 6;
const PCK_CHAIN_CERTIFICATION: u32 = 5;

/// Bytes of QE authentication data: the only size there is.
const QE_AUTHENTICATION_DATA: usize = 32;

/// A TD quote as it was sent: still a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdQuote<'a> {
    /// 4 or 5.
    pub version: u16,
    /// What the quote says of the machine.
    pub body: TdBody,
    /// The certificates that vouch for the quoting enclave, PEM, leaf first.
    pub pck_chain: &'a [u8],
    /// Bytes of the quote; what follows it is padding.
    pub size: usize,
}

/// Why bytes are not a TD quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TdQuoteError {
    /// It ends too early.
    #[error("ends within {field}")]
    Truncated {
        /// In which field.
        field: &'static str,
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
    /// A version that is not known.
    #[error("version is {actual}, expected 4 or 5")]
    Version {
        /// What it is.
        actual: u16,
    },
    /// A version 5 quote whose body is not that of a TD, or of another size than such a body.
    #[error("body has type {kind} and {size} bytes, expected that of a TD")]
    Body {
        /// The body's type.
        kind: u16,
        /// The body's size.
        size: u32,
    },
    /// A size is not what the fields within add up to, or is too large.
    #[error("{field} has {actual} bytes, expected {expected}")]
    Size {
        /// Which field.
        field: &'static str,
        /// What its contents add up to, or the most that is accepted.
        expected: usize,
        /// What it says.
        actual: usize,
    },
    /// Another quoting enclave than Intel's.
    #[error("the quoting enclave is not Intel's")]
    QeVendor,
}

impl<'a> TdQuote<'a> {
    /// Parses a TD quote; bytes that follow it are ignored.
    ///
    /// # Errors
    ///
    /// [`TdQuoteError`] if the bytes do not begin with a quote of a TD, or its sizes do not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TdQuoteError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16("version")?;
        if ![4, 5].contains(&version) {
            return Err(TdQuoteError::Version { actual: version });
        }
        reader.expect_u16("attestation key type", KEY_TYPE_P256)?;
        reader.expect_u32("TEE type", TEE_TYPE_TDX)?;
        // Two fields that the quoting library sets to zero or to SVNs that nobody uses.
        reader.u32("QE and PCE SVN")?;
        if *reader.array::<16>("QE vendor")? != INTEL_QE_VENDOR {
            return Err(TdQuoteError::QeVendor);
        }
        reader.array::<20>("user data")?;
        let body = body::parse(&mut reader, version)?;
        let size = reader.size("authentication data")?;
        let pck_chain = parse_authentication(reader.bytes("authentication data", size)?)?;
        let size = bytes.len().saturating_sub(reader.left());
        Ok(Self {
            version,
            body,
            pck_chain,
            size,
        })
    }
}

/// The signature's surroundings. The signatures themselves are left to the verifying crate.
fn parse_authentication(bytes: &[u8]) -> Result<&[u8], TdQuoteError> {
    let mut reader = Reader::new(bytes);
    reader.array::<64>("signature")?;
    reader.array::<64>("attestation key")?;
    reader.expect_u16("certification type", QE_REPORT_CERTIFICATION)?;
    let size = reader.size("certification data")?;
    let mut inner = Reader::new(reader.bytes("certification data", size)?);
    reader.finish("authentication data", bytes.len())?;
    inner.array::<384>("QE report")?;
    inner.array::<64>("QE report signature")?;
    let size_of_data = usize::from(inner.u16("QE authentication data")?);
    if size_of_data != QE_AUTHENTICATION_DATA {
        return Err(TdQuoteError::Size {
            field: "QE authentication data",
            expected: QE_AUTHENTICATION_DATA,
            actual: size_of_data,
        });
    }
    inner.array::<QE_AUTHENTICATION_DATA>("QE authentication data")?;
    inner.expect_u16("certificate type", PCK_CHAIN_CERTIFICATION)?;
    let size_of_chain = inner.size("PCK certificate chain")?;
    if size_of_chain > MAX_PCK_CHAIN {
        return Err(TdQuoteError::Size {
            field: "PCK certificate chain",
            expected: MAX_PCK_CHAIN,
            actual: size_of_chain,
        });
    }
    let chain = inner.bytes("PCK certificate chain", size_of_chain)?;
    inner.finish("certification data", size)?;
    Ok(chain)
}
