//! azure-tdx evidence, and the two documents it travels in.
//!
//! Forms: Constellation-style aTLS as the Go tools read it, in its smallest form; and that of
//! `flashbots-ratls/1`.
//!
//! I/O: none.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ak::{ATTRIBUTES, AkPublic, RESTRICTED};
use super::ak_certificate::AkCertificates;
use super::case::Case;
use super::certificate::pem;
use super::fault::faults;
use super::text::{base64, base64_url};
use super::tpm_quote::{Bank, TpmQuote};

faults! {
    /// What is wrong with an azure-tdx document, the parts of which are as they should be.
    AzureDocument(AzureDocumentFault) {
        /// No byte.
        Empty,
        /// Something else than JSON.
        NotJson,
        /// The last byte is missing.
        Truncated,
        /// Another value follows.
        Trailing,
        /// A member that nobody knows makes it a megabyte.
        Oversized,
        /// A member that nobody knows has 100,000 arrays in one another.
        Nested,
        /// There is no quote of a TPM.
        NoQuote,
        /// There are two quotes of the SHA-256 bank, both valid.
        TwoQuotes,
        /// Beside the SHA-256 quote there is a SHA-1 quote, both valid.
        Sha1QuoteToo,
        /// A valid SHA-384 quote, and SHA-256 values that nobody has signed: some verifiers check
        /// the one and use the other.
        ValuesBesideSha384Quote,
        /// Statement, signature and key are of an AK that the runtime data do not name.
        UnvouchedAk,
        /// The AK is one that signs anything.
        UnrestrictedAk,
        /// The AK is another than the one that has signed and is vouched for.
        OtherAk,
        /// The user data are another key's.
        OtherUserData,
        /// The user data are a byte short.
        UserDataTooShort,
        /// The user data are missing.
        NoUserData,
        /// The TD quote is missing.
        NoTdQuote,
        /// The instance info are another text of the same JSON than was quoted.
        InstanceInfoRewritten,
        /// A register has the number 24.
        PcrOutOfRange,
        /// A register's value has 31 bytes.
        PcrTooShort,
        /// The values are said to be of SHA-1's bank.
        OtherBankClaimed,
        /// Binary members have the alphabet of base64url.
        OtherAlphabet,
    }
}

/// All that an Azure machine says, for one connection.
#[derive(Clone, Debug)]
pub struct AzureEvidence {
    pub(super) case: Case,
    /// The TD quote.
    pub td_quote: Vec<u8>,
    /// What the TD quote vouches for: JSON.
    pub runtime_data: Vec<u8>,
    /// The whole HCL report.
    pub hcl_report: Vec<u8>,
    /// The vTPM's quotes: one, if nothing is wrong.
    pub tpm_quotes: Vec<TpmQuote>,
    /// The AK's public half.
    pub ak: AkPublic,
    /// Who certifies the AK.
    pub ak_certificates: AkCertificates,
    /// SHA-256 of the attested key, in an aTLS document.
    pub user_data: [u8; 32],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AtlsDocument {
    attestation: AtlsAttestation,
    instance_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<String>,
}

#[derive(Serialize)]
struct AtlsAttestation {
    ak_pub: String,
    quotes: Vec<AtlsQuote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ak_cert: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    intermediate_certs: Vec<String>,
}

#[derive(Serialize)]
struct AtlsQuote {
    quote: String,
    raw_sig: String,
    pcrs: AtlsPcrs,
}

#[derive(Serialize)]
struct AtlsPcrs {
    hash: u16,
    /// Numbers as text, in the order of text.
    pcrs: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceInfo {
    attestation_report: String,
    runtime_data: String,
}

#[derive(Serialize)]
struct RatlsDocument {
    tdx_quote_base64: String,
    hcl_report_base64: String,
    tpm_attestation: RatlsAttestation,
}

#[derive(Serialize)]
struct RatlsAttestation {
    ak_certificate_pem: String,
    ak_intermediate_certificates_pem: Vec<String>,
    quote: Option<RatlsQuote>,
    event_log: [u8; 0],
    instance_info: Option<()>,
}

#[derive(Serialize)]
struct RatlsQuote {
    signature: Vec<u8>,
    message: Vec<u8>,
    /// In the order of their numbers.
    pcrs: Vec<Vec<u8>>,
}

/// The bytes of `InstanceInfo`, which an aTLS quote's qualifying data cover.
pub(super) fn instance_info(td_quote: &[u8], runtime_data: &[u8]) -> Vec<u8> {
    let info = InstanceInfo {
        attestation_report: base64(td_quote),
        runtime_data: base64(runtime_data),
    };
    serde_json::to_vec(&info).expect("write instance info")
}

impl AzureEvidence {
    /// The aTLS document: the smallest that Go verifiers take.
    pub fn atls_document(&self) -> Vec<u8> {
        self.atls(None, &[])
    }

    /// The aTLS document with the AK's certificates, which the format has and Azure does not use.
    pub fn atls_document_with_certificates(&self) -> Vec<u8> {
        let certificates = &self.ak_certificates;
        self.atls(Some(&certificates.leaf), &certificates.intermediates)
    }

    /// The document of `flashbots-ratls/1`.
    pub fn ratls_document(&self) -> Vec<u8> {
        let mut quotes = self.quotes();
        let quote = quotes.pop().map(|quote| RatlsQuote {
            signature: quote.raw_signature().to_vec(),
            message: quote.statement,
            pcrs: quote.pcrs.into_values().collect(),
        });
        let has_quote = !self.case.is(AzureDocumentFault::NoTdQuote);
        let certificates = &self.ak_certificates;
        let document = RatlsDocument {
            tdx_quote_base64: base64_url(if has_quote { &self.td_quote } else { &[] }),
            hcl_report_base64: base64_url(&self.hcl_report),
            tpm_attestation: RatlsAttestation {
                ak_certificate_pem: match certificates.leaf.as_slice() {
                    [] => String::new(),
                    leaf => pem([leaf]),
                },
                ak_intermediate_certificates_pem: certificates
                    .intermediates
                    .iter()
                    .map(|certificate| pem([certificate]))
                    .collect(),
                quote,
                event_log: [],
                instance_info: None,
            },
        };
        self.mangle(serde_json::to_vec(&document).expect("write a document"))
    }

    fn atls(&self, ak_certificate: Option<&[u8]>, issuers: &[Vec<u8>]) -> Vec<u8> {
        let is = |fault: AzureDocumentFault| self.case.is(fault);
        let binary = |bytes: &[u8]| match is(AzureDocumentFault::OtherAlphabet) {
            true => base64_url(bytes),
            false => base64(bytes),
        };
        let td_quote = match is(AzureDocumentFault::NoTdQuote) {
            true => &[][..],
            false => &self.td_quote,
        };
        let mut instance_info = instance_info(td_quote, &self.runtime_data);
        if is(AzureDocumentFault::InstanceInfoRewritten) {
            instance_info.insert(1, b' ');
        }
        let document = AtlsDocument {
            attestation: AtlsAttestation {
                ak_pub: binary(&self.ak_pub()),
                quotes: self
                    .quotes()
                    .iter()
                    .map(|quote| self.atls_quote(quote, &binary))
                    .collect(),
                ak_cert: ak_certificate.map(&binary),
                intermediate_certs: issuers.iter().map(|issuer| binary(issuer)).collect(),
            },
            instance_info: binary(&instance_info),
            user_data: self.atls_user_data().map(|user_data| binary(&user_data)),
        };
        self.mangle(serde_json::to_vec(&document).expect("write a document"))
    }

    fn atls_quote(&self, quote: &TpmQuote, binary: &dyn Fn(&[u8]) -> String) -> AtlsQuote {
        let bank = self
            .case
            .either(AzureDocumentFault::OtherBankClaimed, Bank::Sha1, quote.bank);
        AtlsQuote {
            quote: binary(&quote.statement),
            raw_sig: binary(&quote.signature),
            pcrs: AtlsPcrs {
                hash: bank.algorithm(),
                pcrs: quote
                    .pcrs
                    .iter()
                    .map(|(pcr, value)| (pcr.to_string(), binary(value)))
                    .collect(),
            },
        }
    }

    /// The quotes, with what is wrong with the values in a document.
    fn quotes(&self) -> Vec<TpmQuote> {
        let mut quotes = self.tpm_quotes.clone();
        for quote in &mut quotes {
            match self.case {
                case if case.is(AzureDocumentFault::PcrOutOfRange) => {
                    quote.pcrs.insert(24, vec![0; 32]);
                }
                case if case.is(AzureDocumentFault::PcrTooShort) => {
                    quote.pcrs.entry(11).or_default().truncate(31);
                }
                _ => {}
            }
        }
        quotes
    }

    fn ak_pub(&self) -> Vec<u8> {
        match self.case {
            case if case.is(AzureDocumentFault::UnrestrictedAk) => {
                self.ak.tpmt_public_with(ATTRIBUTES & !RESTRICTED)
            }
            case if case.is(AzureDocumentFault::OtherAk) => {
                super::ak::Ak::other().public().tpmt_public()
            }
            _ => self.ak.tpmt_public(),
        }
    }

    fn atls_user_data(&self) -> Option<Vec<u8>> {
        let mut user_data = self.user_data.to_vec();
        match self.case {
            case if case.is(AzureDocumentFault::NoUserData) => return None,
            case if case.is(AzureDocumentFault::OtherUserData) => user_data[0] ^= 1,
            case if case.is(AzureDocumentFault::UserDataTooShort) => drop(user_data.pop()),
            _ => {}
        }
        Some(user_data)
    }

    fn mangle(&self, mut document: Vec<u8>) -> Vec<u8> {
        match self.case {
            case if case.is(AzureDocumentFault::Empty) => document.clear(),
            case if case.is(AzureDocumentFault::NotJson) => document = b"no JSON".to_vec(),
            case if case.is(AzureDocumentFault::Truncated) => drop(document.pop()),
            case if case.is(AzureDocumentFault::Trailing) => document.extend(b"{}"),
            case if case.is(AzureDocumentFault::Oversized) => {
                insert(&mut document, &format!("\"{}\"", "x".repeat(1 << 20)));
            }
            case if case.is(AzureDocumentFault::Nested) => {
                insert(&mut document, &("[".repeat(100_000) + &"]".repeat(100_000)));
            }
            _ => {}
        }
        document
    }
}

/// Makes this value the first member of a JSON object, under a name that nobody knows.
fn insert(document: &mut Vec<u8>, value: &str) {
    document.splice(1..1, format!("\"unknown\":{value},").into_bytes());
}
