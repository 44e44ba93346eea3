//! The document of `flashbots-ratls/1` for Azure.
//!
//! I/O: none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::base64_text::{Base64, UrlSafe};
use super::{
    AzureForm, AzureTdx, EvidenceError, HclReport, MAX_CERTIFICATES, MAX_TD_QUOTE, TpmQuote,
    bounded, bounded_certificates,
};
use crate::pem;

/// `TPMT_SIGNATURE` up to the signature proper, which alone the document has: RSASSA, SHA-256.
const SIGNATURE_HEADER: [u8; 4] = [0x00, 0x14, 0x00, 0x0b];

/// Registers of a PC Client TPM; a quote is of all of them, in order.
const REGISTERS: usize = 24;

#[derive(Serialize, Deserialize)]
struct Document {
    tdx_quote_base64: Base64<UrlSafe>,
    hcl_report_base64: Base64<UrlSafe>,
    tpm_attestation: TpmAttestation,
}

#[derive(Serialize, Deserialize)]
struct TpmAttestation {
    ak_certificate_pem: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ak_intermediate_certificates_pem: Vec<String>,
    quote: Quote,
    /// Always empty; existing verifiers want the key.
    #[serde(default)]
    event_log: Vec<u8>,
    /// Always null; existing verifiers want the key.
    #[serde(default)]
    instance_info: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Quote {
    signature: Vec<u8>,
    message: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
}

pub(super) fn parse_azure(document: &[u8]) -> Result<AzureTdx, EvidenceError> {
    let document: Document = serde_json::from_slice(document).map_err(EvidenceError::Json)?;
    let Document {
        tdx_quote_base64,
        hcl_report_base64,
        tpm_attestation,
    } = document;
    bounded("TD quote", tdx_quote_base64.0.len(), MAX_TD_QUOTE)?;
    let runtime_data = HclReport::parse(&hcl_report_base64.0)?
        .runtime_data
        .to_vec();
    let certificates = std::iter::once(&tpm_attestation.ak_certificate_pem)
        .chain(&tpm_attestation.ak_intermediate_certificates_pem)
        // One more than is accepted, so that too many are noticed.
        .take(MAX_CERTIFICATES.saturating_add(1));
    let ak_certificates: Vec<Vec<u8>> = certificates
        .map(|pem| pem::only_certificate(pem).ok_or(EvidenceError::Pem))
        .collect::<Result<_, _>>()?;
    bounded_certificates(&ak_certificates)?;
    Ok(AzureTdx {
        td_quote: tdx_quote_base64.0,
        runtime_data,
        tpm_quote: tpm_quote(tpm_attestation.quote)?,
        ak_certificates,
        form: AzureForm::Ratls {
            hcl_report: hcl_report_base64.0,
        },
    })
}

fn tpm_quote(quote: Quote) -> Result<TpmQuote, EvidenceError> {
    if quote.pcrs.len() > REGISTERS {
        return Err(EvidenceError::TooMany {
            field: "PCRs",
            most: REGISTERS,
            actual: quote.pcrs.len(),
        });
    }
    let actual = quote.signature.len();
    let length = u16::try_from(actual).map_err(|_| EvidenceError::TooLarge {
        field: "signature",
        most: usize::from(u16::MAX),
        actual,
    })?;
    let mut signature = SIGNATURE_HEADER.to_vec();
    signature.extend(length.to_be_bytes());
    signature.extend(quote.signature);
    let pcrs: BTreeMap<u8, [u8; 32]> = (0..).zip(quote.pcrs).collect();
    Ok(TpmQuote {
        attest: quote.message,
        signature,
        pcrs,
    })
}

pub(super) fn write_azure(evidence: &AzureTdx, hcl_report: &[u8]) -> Vec<u8> {
    let TpmQuote {
        attest,
        signature,
        pcrs,
    } = &evidence.tpm_quote;
    let certificates = &mut evidence
        .ak_certificates
        .iter()
        .map(|der| pem::write_certificate(der));
    let document = Document {
        tdx_quote_base64: evidence.td_quote.as_slice().into(),
        hcl_report_base64: hcl_report.into(),
        tpm_attestation: TpmAttestation {
            ak_certificate_pem: certificates.next().unwrap_or_default(),
            ak_intermediate_certificates_pem: certificates.collect(),
            quote: Quote {
                // After the header and the length.
                signature: signature.iter().skip(6).copied().collect(),
                message: attest.clone(),
                pcrs: pcrs.values().copied().collect(),
            },
            event_log: Vec::new(),
            instance_info: None,
        },
    };
    // A structure of texts and numbers, written to memory, has nothing to fail with.
    serde_json::to_vec(&document).unwrap_or_default()
}
