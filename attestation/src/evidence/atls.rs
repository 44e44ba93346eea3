//! The documents of Constellation-style aTLS, as Go's `encoding/json` writes them.
//!
//! Keys are taken in this spelling only, and none twice; unknown keys are passed over, as Go
//! does, among them `event_log` and `TeeAttestation`. What is written is the minimal document.
//!
//! I/O: none.

use serde::{Deserialize, Serialize};

use super::base64_text::{Base64, Standard};
use super::pcr_map::PcrMap;
use super::{
    AzureForm, AzureTdx, DcapTdx, EvidenceError, MAX_TD_QUOTE, TpmQuote, bounded,
    bounded_certificates, sha256_values,
};

/// `TPM_ALG_ID` of the bank that counts.
const SHA256: u32 = 0x000b;

/// `TPM_ALG_ID` of the banks that a TPM may have beside it; their quotes are passed over.
const OTHER_BANKS: [u32; 3] = [0x0004, 0x000c, 0x000d];

/// More than there are banks.
const MAX_QUOTES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "Attestation")]
    attestation: Attestation,
    #[serde(rename = "InstanceInfo")]
    instance_info: Base64<Standard>,
    #[serde(rename = "UserData")]
    user_data: Base64<Standard>,
}

#[derive(Serialize, Deserialize)]
struct Attestation {
    ak_pub: Base64<Standard>,
    quotes: Vec<Quote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ak_cert: Option<Base64<Standard>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intermediate_certs: Option<Vec<Base64<Standard>>>,
}

#[derive(Serialize, Deserialize)]
struct Quote {
    quote: Base64<Standard>,
    raw_sig: Base64<Standard>,
    pcrs: Pcrs,
}

#[derive(Serialize, Deserialize)]
struct Pcrs {
    hash: u32,
    pcrs: PcrMap,
}

#[derive(Serialize, Deserialize)]
struct InstanceInfo {
    #[serde(rename = "AttestationReport")]
    td_quote: Base64<Standard>,
    #[serde(rename = "RuntimeData")]
    runtime_data: Base64<Standard>,
}

#[derive(Serialize, Deserialize)]
struct DcapDocument {
    #[serde(rename = "RawQuote")]
    td_quote: Base64<Standard>,
    #[serde(rename = "UserData")]
    user_data: Base64<Standard>,
}

pub(super) fn parse_azure(document: &[u8]) -> Result<AzureTdx, EvidenceError> {
    let document: Document = serde_json::from_slice(document).map_err(EvidenceError::Json)?;
    let Attestation {
        ak_pub,
        quotes,
        ak_cert,
        intermediate_certs,
    } = document.attestation;
    let instance_info = document.instance_info.0;
    let parsed: InstanceInfo =
        serde_json::from_slice(&instance_info).map_err(EvidenceError::InstanceInfo)?;
    bounded("TD quote", parsed.td_quote.0.len(), MAX_TD_QUOTE)?;
    // Issuers without a leaf vouch for nothing.
    let issuers = intermediate_certs.filter(|_| ak_cert.is_some());
    let ak_certificates: Vec<Vec<u8>> = ak_cert
        .into_iter()
        .chain(issuers.into_iter().flatten())
        .map(|certificate| certificate.0)
        .collect();
    bounded_certificates(&ak_certificates)?;
    Ok(AzureTdx {
        td_quote: parsed.td_quote.0,
        runtime_data: parsed.runtime_data.0,
        tpm_quote: the_sha256_quote(quotes)?,
        ak_certificates,
        form: AzureForm::Atls {
            ak_public: ak_pub.0,
            instance_info,
            user_data: document.user_data.0,
        },
    })
}

/// Takes the one quote of the SHA-256 bank; existing attesters send one of every bank.
fn the_sha256_quote(quotes: Vec<Quote>) -> Result<TpmQuote, EvidenceError> {
    if quotes.len() > MAX_QUOTES {
        return Err(EvidenceError::TooMany {
            field: "quotes",
            most: MAX_QUOTES,
            actual: quotes.len(),
        });
    }
    let (mut found, mut actual) = (None, 0_usize);
    for quote in quotes {
        match quote.pcrs.hash {
            SHA256 => {
                actual = actual.saturating_add(1);
                found = Some(quote);
            }
            bank if OTHER_BANKS.contains(&bank) => {}
            actual => return Err(EvidenceError::Bank { actual }),
        }
    }
    match found {
        Some(quote) if actual == 1 => Ok(TpmQuote {
            attest: quote.quote.0,
            signature: quote.raw_sig.0,
            pcrs: sha256_values(quote.pcrs.pcrs.0)?,
        }),
        _ => Err(EvidenceError::Sha256Quotes { actual }),
    }
}

pub(super) fn parse_dcap(document: &[u8]) -> Result<DcapTdx, EvidenceError> {
    let document: DcapDocument = serde_json::from_slice(document).map_err(EvidenceError::Json)?;
    bounded("TD quote", document.td_quote.0.len(), MAX_TD_QUOTE)?;
    Ok(DcapTdx {
        td_quote: document.td_quote.0,
        user_data: Some(document.user_data.0),
    })
}

pub(super) fn write_azure(
    evidence: &AzureTdx,
    ak_public: &[u8],
    instance_info: &[u8],
    user_data: &[u8],
) -> Vec<u8> {
    let values = evidence.tpm_quote.pcrs.iter();
    let values = values.map(|(register, value)| (*register, value.to_vec()));
    let quote = Quote {
        quote: evidence.tpm_quote.attest.as_slice().into(),
        raw_sig: evidence.tpm_quote.signature.as_slice().into(),
        pcrs: Pcrs {
            hash: SHA256,
            pcrs: PcrMap(values.collect()),
        },
    };
    let certificates = &mut evidence.ak_certificates.iter().map(|der| der.as_slice());
    let ak_cert = certificates.next().map(Base64::from);
    let issuers: Vec<Base64<Standard>> = certificates.map(Base64::from).collect();
    to_json(&Document {
        attestation: Attestation {
            ak_pub: ak_public.into(),
            quotes: vec![quote],
            ak_cert,
            intermediate_certs: (!issuers.is_empty()).then_some(issuers),
        },
        instance_info: instance_info.into(),
        user_data: user_data.into(),
    })
}

pub(super) fn write_instance_info(td_quote: &[u8], runtime_data: &[u8]) -> Vec<u8> {
    to_json(&InstanceInfo {
        td_quote: td_quote.into(),
        runtime_data: runtime_data.into(),
    })
}

pub(super) fn write_dcap(td_quote: &[u8], user_data: &[u8]) -> Vec<u8> {
    to_json(&DcapDocument {
        td_quote: td_quote.into(),
        user_data: user_data.into(),
    })
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    // Structures of texts and numbers, written to memory, have nothing to fail with.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document of one register, with what goes into its list of quotes and around it.
    fn document(quotes: &str, more: &str) -> String {
        let info = r#""InstanceInfo":"eyJBdHRlc3RhdGlvblJlcG9ydCI6IiIsIlJ1bnRpbWVEYXRhIjoiIn0=""#;
        format!(
            r#"{{"Attestation":{{"ak_pub":"AAE=","quotes":[{quotes}]}},{info},"UserData":"AAE="{more}}}"#
        )
    }

    fn quote(bank: u32, pcrs: &str) -> String {
        format!(r#"{{"quote":"","raw_sig":"","pcrs":{{"hash":{bank},"pcrs":{{{pcrs}}}}}}}"#)
    }

    fn value() -> String {
        format!("\"{}=\"", "A".repeat(43))
    }

    fn parse(document: &str) -> Result<AzureTdx, EvidenceError> {
        parse_azure(document.as_bytes())
    }

    fn written(evidence: AzureTdx) -> Vec<u8> {
        crate::Evidence::AzureTdx(Box::new(evidence)).to_document()
    }

    #[test]
    fn a_small_document_is_parsed_and_written_again() {
        let document = document(&quote(11, &format!("\"4\":{}", value())), "");
        let evidence = parse(&document).unwrap();
        assert_eq!(evidence.tpm_quote.pcrs[&4], [0; 32]);
        assert_eq!(written(evidence), document.as_bytes());
    }

    #[test]
    fn registers_are_written_in_the_order_of_texts() {
        let pcrs: Vec<String> = ["0", "1", "10", "2", "23", "9"]
            .iter()
            .map(|register| format!("\"{register}\":{}", value()))
            .collect();
        let document = document(&quote(11, &pcrs.join(",")), "");
        assert_eq!(written(parse(&document).unwrap()), document.as_bytes());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let value = value();
        for pcrs in [
            format!("\"4\":{value},\"4\":{value}"),
            format!("\"04\":{value}"),
            format!("\"+4\":{value}"),
            format!("\"32\":{value}"),
            format!("\"\":{value}"),
            // The last character has bits that no byte has.
            format!("\"4\":\"{}B=\"", "A".repeat(42)),
            // Not padded.
            format!("\"4\":\"{}\"", "A".repeat(43)),
        ] {
            let result = parse(&document(&quote(11, &pcrs), ""));
            assert!(matches!(result, Err(EvidenceError::Json(_))), "{pcrs}");
        }
        let result = parse(&document(&quote(11, ""), r#","UserData":"AAE=""#));
        assert!(matches!(result, Err(EvidenceError::Json(_))));
    }

    #[test]
    fn what_is_not_known_is_passed_over_but_not_an_unknown_bank() {
        let quotes = format!("{},{}", quote(4, ""), quote(11, ""));
        assert!(parse(&document(&quotes, r#","TeeAttestation":{"a":[null]}"#)).is_ok());
        let quotes = format!("{},{}", quote(18, ""), quote(11, ""));
        let result = parse(&document(&quotes, ""));
        assert!(matches!(result, Err(EvidenceError::Bank { actual: 18 })));
        let quotes = vec![quote(4, ""); 9].join(",");
        let result = parse(&document(&quotes, ""));
        assert!(matches!(
            result,
            Err(EvidenceError::TooMany { actual: 9, .. })
        ));
    }
}
