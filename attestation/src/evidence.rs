//! Evidence: what a machine says about itself, as it travels. Nothing here is verified.
//!
//! Two kinds of machine and two protocols, so four documents:
//!
//! | | aTLS, in a certificate's extension | `flashbots-ratls/1`, after the handshake |
//! |---|---|---|
//! | `azure-tdx` | JSON: vTPM quotes, and a TD quote with runtime data | JSON: TD quote, HCL report, vTPM quote, AK certificate |
//! | `dcap-tdx` | JSON: TD quote | the TD quote itself |
//!
//! Parsing is bounded by [`MAX_DOCUMENT`] and by smaller bounds on the parts, and never panics.
//! Left out: event logs, which the documents may have and which prove nothing beyond the
//! registers; and the frames that carry the documents.
//!
//! I/O: none.

mod atls;
mod base64_text;
mod hcl;
mod kind;
mod pcr_map;
mod ratls;

use std::collections::BTreeMap;

pub use self::hcl::{HclError, HclReport, RuntimeData};
pub use self::kind::EvidenceKind;

/// Largest document that is parsed: what Go's TLS lets through as a certificate.
pub const MAX_DOCUMENT: usize = 256 << 10;

/// Largest TD quote. Configfs pads them to 8,000 bytes, some hosts to 10,014.
pub const MAX_TD_QUOTE: usize = 16 << 10;

/// Most certificates beside an AK, itself included.
const MAX_CERTIFICATES: usize = 8;

/// Largest certificate. Azure's NV index is padded to 4,096 bytes.
const MAX_CERTIFICATE: usize = 8 << 10;

/// Evidence of one machine, for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A TDX machine of Azure, which measures into a vTPM.
    AzureTdx(Box<AzureTdx>),
    /// A TDX machine that measures into the TDX module's own registers.
    DcapTdx(DcapTdx),
}

/// Evidence of a TDX machine of Azure.
///
/// The TD quote vouches for the runtime data, these for the AK, and the AK signs the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureTdx {
    td_quote: Vec<u8>,
    runtime_data: Vec<u8>,
    tpm_quote: TpmQuote,
    ak_certificates: Vec<Vec<u8>>,
    form: AzureForm,
}

/// In what document the evidence travels, with what only that document has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureForm {
    /// In an aTLS document.
    Atls {
        /// The AK, as `TPMT_PUBLIC`.
        ak_public: Vec<u8>,
        /// The bytes of `InstanceInfo`, which the quote's qualifying data cover.
        instance_info: Vec<u8>,
        /// What the machine says is the SHA-256 of its key.
        user_data: Vec<u8>,
    },
    /// In a `flashbots-ratls/1` document.
    Ratls {
        /// The whole HCL report.
        hcl_report: Vec<u8>,
    },
}

/// A vTPM's quote of its SHA-256 bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmQuote {
    /// `TPMS_ATTEST`: what is signed.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// The registers' values, as the machine says.
    pub pcrs: BTreeMap<u8, [u8; 32]>,
}

/// Evidence of a TDX machine without a vTPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcapTdx {
    /// The TD quote; bytes after it are ignored.
    pub td_quote: Vec<u8>,
    /// What the machine says is the SHA-256 of its key; only aTLS documents say so.
    pub user_data: Option<Vec<u8>>,
}

impl Evidence {
    /// Parses the document of an aTLS certificate's extension.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] if the document is too large or is not of this form.
    pub fn parse_atls(kind: EvidenceKind, document: &[u8]) -> Result<Self, EvidenceError> {
        bounded("document", document.len(), MAX_DOCUMENT)?;
        match kind {
            EvidenceKind::AzureTdx => atls::parse_azure(document).map(Self::azure),
            EvidenceKind::DcapTdx => atls::parse_dcap(document).map(Self::DcapTdx),
        }
    }

    /// Parses the attestation of a `flashbots-ratls/1` message.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] if the document is too large or is not of this form.
    pub fn parse_ratls(kind: EvidenceKind, document: &[u8]) -> Result<Self, EvidenceError> {
        bounded("document", document.len(), MAX_DOCUMENT)?;
        match kind {
            EvidenceKind::AzureTdx => ratls::parse_azure(document).map(Self::azure),
            EvidenceKind::DcapTdx => {
                bounded("TD quote", document.len(), MAX_TD_QUOTE)?;
                let td_quote = document.to_vec();
                Ok(Self::DcapTdx(DcapTdx {
                    td_quote,
                    user_data: None,
                }))
            }
        }
    }

    /// The document in which this evidence travels: what it was parsed from, in the minimal form
    /// that existing verifiers accept.
    pub fn to_document(&self) -> Vec<u8> {
        match self {
            Self::AzureTdx(evidence) => match &evidence.form {
                AzureForm::Atls {
                    ak_public,
                    instance_info,
                    user_data,
                } => atls::write_azure(evidence, ak_public, instance_info, user_data),
                AzureForm::Ratls { hcl_report } => ratls::write_azure(evidence, hcl_report),
            },
            Self::DcapTdx(evidence) => match &evidence.user_data {
                Some(user_data) => atls::write_dcap(&evidence.td_quote, user_data),
                None => evidence.td_quote.clone(),
            },
        }
    }

    /// What kind of machine it is of.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Self::AzureTdx(_) => EvidenceKind::AzureTdx,
            Self::DcapTdx(_) => EvidenceKind::DcapTdx,
        }
    }

    /// The TD quote, which says what Intel collateral its verification takes.
    pub fn td_quote(&self) -> &[u8] {
        match self {
            Self::AzureTdx(evidence) => &evidence.td_quote,
            Self::DcapTdx(evidence) => &evidence.td_quote,
        }
    }

    fn azure(evidence: AzureTdx) -> Self {
        Self::AzureTdx(Box::new(evidence))
    }
}

impl AzureTdx {
    /// Puts together what an aTLS document has.
    ///
    /// `tpm_quote` must have been made for the qualifying data that
    /// [`Binding::azure_qualifying_data`](crate::Binding::azure_qualifying_data) gives for
    /// [`instance_info`] of the same TD quote and runtime data. `user_data` is the SHA-256 of the
    /// certificate's key.
    pub fn atls(
        td_quote: Vec<u8>,
        runtime_data: Vec<u8>,
        ak_public: Vec<u8>,
        tpm_quote: TpmQuote,
        user_data: [u8; 32],
    ) -> Self {
        let form = AzureForm::Atls {
            ak_public,
            instance_info: instance_info(&td_quote, &runtime_data),
            user_data: user_data.to_vec(),
        };
        Self {
            td_quote,
            runtime_data,
            tpm_quote,
            ak_certificates: Vec::new(),
            form,
        }
    }

    /// Puts together what a `flashbots-ratls/1` document has.
    ///
    /// `ak_certificates` are DER, the AK's own first, then those that issued it.
    ///
    /// # Errors
    ///
    /// [`HclError`] if the HCL report is malformed.
    pub fn ratls(
        td_quote: Vec<u8>,
        hcl_report: Vec<u8>,
        tpm_quote: TpmQuote,
        ak_certificates: Vec<Vec<u8>>,
    ) -> Result<Self, HclError> {
        let runtime_data = HclReport::parse(&hcl_report)?.runtime_data.to_vec();
        Ok(Self {
            td_quote,
            runtime_data,
            tpm_quote,
            ak_certificates,
            form: AzureForm::Ratls { hcl_report },
        })
    }

    /// The TD quote.
    pub fn td_quote(&self) -> &[u8] {
        &self.td_quote
    }

    /// The HCL report's runtime data, JSON, of which the TD quote carries the hash.
    pub fn runtime_data(&self) -> &[u8] {
        &self.runtime_data
    }

    /// The vTPM's quote.
    pub fn tpm_quote(&self) -> &TpmQuote {
        &self.tpm_quote
    }

    /// The AK's certificate and then its issuers', DER; empty if none was sent.
    pub fn ak_certificates(&self) -> &[Vec<u8>] {
        &self.ak_certificates
    }

    /// What only one of the two documents has.
    pub fn form(&self) -> &AzureForm {
        &self.form
    }
}

/// The bytes of `InstanceInfo` in an aTLS document, over which its vTPM quote is made.
pub fn instance_info(td_quote: &[u8], runtime_data: &[u8]) -> Vec<u8> {
    atls::write_instance_info(td_quote, runtime_data)
}

/// Why bytes are not evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Something is larger than it ever is.
    #[error("{field} has {actual} bytes, expected at most {most}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// Most that is accepted.
        most: usize,
        /// What it has.
        actual: usize,
    },
    /// The document is not JSON of the expected form, or base64 in it is not canonical.
    #[error("the evidence is malformed")]
    Json(#[source] serde_json::Error),
    /// The JSON within the document is malformed.
    #[error("the evidence's instance info is malformed")]
    InstanceInfo(#[source] serde_json::Error),
    /// There must be exactly one quote of the SHA-256 bank, or it is not clear which one counts.
    #[error("the evidence has {actual} quotes of the SHA-256 bank, expected 1")]
    Sha256Quotes {
        /// How many there are.
        actual: usize,
    },
    /// A quote is of a bank that no TPM of this kind has.
    #[error(
        "the evidence has a quote of bank {actual:#06x}, expected SHA-1, SHA-256, SHA-384 or SHA-512"
    )]
    Bank {
        /// The bank's `TPM_ALG_ID`.
        actual: u32,
    },
    /// A register's value has not the size of the SHA-256 bank.
    #[error("PCR {register} has {actual} bytes, expected 32")]
    PcrSize {
        /// The register's index.
        register: u8,
        /// What its value has.
        actual: usize,
    },
    /// A list has more elements than it ever has.
    #[error("the evidence has {actual} {field}, expected at most {most}")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// Most that are accepted.
        most: usize,
        /// How many there are.
        actual: usize,
    },
    /// A certificate is not PEM.
    #[error("the AK's certificate is not PEM")]
    Pem,
    /// The HCL report is malformed.
    #[error("the HCL report is malformed")]
    Hcl(#[from] HclError),
}

fn bounded(field: &'static str, actual: usize, most: usize) -> Result<(), EvidenceError> {
    if actual > most {
        return Err(EvidenceError::TooLarge {
            field,
            most,
            actual,
        });
    }
    Ok(())
}

fn bounded_certificates(certificates: &[Vec<u8>]) -> Result<(), EvidenceError> {
    let (field, actual) = ("certificates", certificates.len());
    if actual > MAX_CERTIFICATES {
        return Err(EvidenceError::TooMany {
            field,
            most: MAX_CERTIFICATES,
            actual,
        });
    }
    certificates
        .iter()
        .try_for_each(|der| bounded("certificate", der.len(), MAX_CERTIFICATE))
}

/// Checks the sizes of registers' values.
fn sha256_values(values: BTreeMap<u8, Vec<u8>>) -> Result<BTreeMap<u8, [u8; 32]>, EvidenceError> {
    let sized = values.into_iter().map(|(register, value)| {
        let actual = value.len();
        let value =
            <[u8; 32]>::try_from(value).map_err(|_| EvidenceError::PcrSize { register, actual })?;
        Ok((register, value))
    });
    sized.collect()
}
