//! TPM 2.0 quotes: a TPM's signed statement of what its registers hold.
//!
//! Understood is what Azure's vTPM makes and what a PC Client TPM makes when asked for it: one
//! selection of the SHA-256 bank, signed RSASSA with SHA-256. Left out: where the AK comes from
//! (its binding to a TEE or to a certificate), event logs, and fetching a quote from a TPM.
//!
//! I/O: none.

mod ak;
mod attest;
mod signature;
mod wire;

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use subtle::ConstantTimeEq;

pub use self::ak::{AkError, AkPublic};
pub use self::attest::{ClockInfo, PcrSelection, Quote, parse};
pub use self::wire::ParseError;

/// `TPM_ALG_SHA256`, TPM 2.0 Library, Part 2, "TPM_ALG_ID".
const ALG_SHA256: u16 = 0x000b;

/// `TPM_ALG_RSASSA`, the same table.
const ALG_RSASSA: u16 = 0x0014;

/// Verifies a quote of the SHA-256 bank and that it is about `pcr_values`.
///
/// `quote` is a `TPMS_ATTEST` and `signature` a `TPMT_SIGNATURE`, both as the TPM returns them,
/// big endian and without a size in front. `pcr_values` are claimed by the machine and need not be
/// trusted; they must be all registers that the quote selects, and no others. `qualifying_data`
/// is what this verifier expects in the quote: its nonce, or a digest that binds nonce and key.
///
/// `ak` must already be trusted to be a restricted signing key of the TPM in question: anybody can
/// sign such a structure with a key of their own. Then the result proves that this TPM's registers
/// held these values at one moment after `qualifying_data` was known to somebody.
///
/// # Errors
///
/// Any [`QuoteError`] means: do not believe the values.
pub fn verify(
    quote: &[u8],
    signature: &[u8],
    ak: &AkPublic,
    pcr_values: &BTreeMap<u8, [u8; 32]>,
    qualifying_data: &[u8],
) -> Result<VerifiedQuote, QuoteError> {
    let signature = signature::parse(signature).map_err(QuoteError::MalformedSignature)?;
    if !ak.has_signed(quote, signature) {
        return Err(QuoteError::Signature);
    }
    let quote = parse(quote).map_err(QuoteError::MalformedQuote)?;
    check(&quote, pcr_values, qualifying_data)?;
    Ok(VerifiedQuote {
        pcrs: pcr_values.clone(),
        clock: quote.clock,
    })
}

/// What the statement says, given that the TPM made it.
fn check(
    quote: &Quote,
    pcr_values: &BTreeMap<u8, [u8; 32]>,
    qualifying_data: &[u8],
) -> Result<(), QuoteError> {
    if !bool::from(quote.qualifying_data.ct_eq(qualifying_data)) {
        return Err(QuoteError::QualifyingData);
    }
    let [(bank, actual)] = quote.selections.as_slice() else {
        return Err(QuoteError::Selections {
            actual: quote.selections.len(),
        });
    };
    if *bank != ALG_SHA256 {
        return Err(QuoteError::Bank { actual: *bank });
    }
    let expected: PcrSelection = pcr_values.keys().copied().collect();
    if *actual != expected {
        return Err(QuoteError::PcrSelection {
            expected,
            actual: actual.clone(),
        });
    }
    if actual.is_empty() {
        return Err(QuoteError::NoPcrs);
    }
    let expected = pcr_digest(pcr_values);
    if quote.pcr_digest != expected {
        return Err(QuoteError::PcrDigest {
            expected,
            actual: quote.pcr_digest,
        });
    }
    Ok(())
}

/// SHA-256 of the values in ascending order of their registers, as `TPMS_QUOTE_INFO.pcrDigest`.
///
/// The hash is the signature's, not the bank's (TPM 2.0 Library, Part 3, `TPM2_Quote`); here both
/// are SHA-256.
fn pcr_digest(pcr_values: &BTreeMap<u8, [u8; 32]>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for value in pcr_values.values() {
        context.update(value);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Register values that a TPM has signed for. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedQuote {
    pcrs: BTreeMap<u8, [u8; 32]>,
    clock: ClockInfo,
}

impl VerifiedQuote {
    /// All registers that the quote covers, SHA-256 bank.
    pub fn pcrs(&self) -> &BTreeMap<u8, [u8; 32]> {
        &self.pcrs
    }

    /// One register's value, or `None` if the quote does not cover it.
    pub fn pcr(&self, index: u8) -> Option<&[u8; 32]> {
        self.pcrs.get(&index)
    }

    /// When the quote was made, on the TPM's own clock.
    pub fn clock(&self) -> ClockInfo {
        self.clock
    }
}

/// Why a quote was not accepted. Every variant means: do not believe the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The signature is not an RSASSA, SHA-256 signature in a TPM's form.
    #[error("signature is malformed")]
    MalformedSignature(#[source] ParseError),

    /// Another key has signed, or what was signed has changed since.
    #[error("quote was not signed by this AK")]
    Signature,

    /// The AK has signed something else than a quote.
    #[error("quote is malformed")]
    MalformedQuote(#[source] ParseError),

    /// The quote was made for another nonce or another key: stale, or relayed.
    #[error("quote was made for other qualifying data")]
    QualifyingData,

    /// The quote covers several banks or none, so values cannot be assigned to registers.
    #[error("quote has {actual} selections of registers, expected 1")]
    Selections {
        /// Selections in the quote.
        actual: usize,
    },

    /// The quote covers another bank than SHA-256.
    #[error("quote covers bank {actual:#06x}, expected {ALG_SHA256:#06x} (SHA-256)")]
    Bank {
        /// `TPM_ALG_ID` of the quoted bank.
        actual: u16,
    },

    /// The quote covers other registers than those claimed.
    #[error("quote selects PCRs {actual}, expected {expected}")]
    PcrSelection {
        /// Registers whose values were claimed.
        expected: PcrSelection,
        /// Registers that the quote covers.
        actual: PcrSelection,
    },

    /// The quote covers no register and so says nothing.
    #[error("quote selects no PCRs")]
    NoPcrs,

    /// The registers do not hold the claimed values.
    #[error("PCR digest is {}, expected {} from the claimed values", hex(.actual), hex(.expected))]
    PcrDigest {
        /// SHA-256 of the claimed values.
        expected: [u8; 32],
        /// SHA-256 of the values in the TPM.
        actual: [u8; 32],
    },
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(registers: &[u8]) -> BTreeMap<u8, [u8; 32]> {
        registers
            .iter()
            .map(|register| (*register, [*register; 32]))
            .collect()
    }

    fn quote_of(registers: &[u8]) -> Quote {
        Quote {
            qualifying_data: b"nonce".to_vec(),
            clock: ClockInfo::default(),
            selections: vec![(ALG_SHA256, registers.iter().copied().collect())],
            pcr_digest: pcr_digest(&values(registers)),
        }
    }

    #[test]
    fn a_quote_of_the_claimed_values_is_accepted() {
        assert_eq!(
            check(&quote_of(&[4, 9, 11]), &values(&[4, 9, 11]), b"nonce"),
            Ok(())
        );
    }

    #[test]
    fn other_qualifying_data_is_refused() {
        for other in [&b"nonc3"[..], b"nonce\0", b"nonc", b""] {
            let result = check(&quote_of(&[4]), &values(&[4]), other);
            assert_eq!(result, Err(QuoteError::QualifyingData));
        }
    }

    #[test]
    fn more_and_fewer_registers_than_quoted_are_refused() {
        for claimed in [&[4, 9, 11, 12][..], &[4, 9], &[4, 9, 12], &[], &[4, 9, 255]] {
            let result = check(&quote_of(&[4, 9, 11]), &values(claimed), b"nonce");
            let expected = claimed.iter().copied().collect();
            let actual = [4, 9, 11].into_iter().collect();
            assert_eq!(result, Err(QuoteError::PcrSelection { expected, actual }));
        }
    }

    #[test]
    fn a_quote_of_nothing_is_refused() {
        assert_eq!(
            check(&quote_of(&[]), &values(&[]), b"nonce"),
            Err(QuoteError::NoPcrs)
        );
    }

    #[test]
    fn other_banks_and_several_banks_are_refused() {
        let mut quote = quote_of(&[4]);
        quote.selections[0].0 = 0x000c;
        let result = check(&quote, &values(&[4]), b"nonce");
        assert_eq!(result, Err(QuoteError::Bank { actual: 0x000c }));

        let mut quote = quote_of(&[4]);
        quote
            .selections
            .push((ALG_SHA256, [9].into_iter().collect()));
        let result = check(&quote, &values(&[4]), b"nonce");
        assert_eq!(result, Err(QuoteError::Selections { actual: 2 }));

        quote.selections.clear();
        let result = check(&quote, &values(&[4]), b"nonce");
        assert_eq!(result, Err(QuoteError::Selections { actual: 0 }));
    }

    #[test]
    fn values_are_hashed_in_the_order_of_registers() {
        let mut swapped = values(&[4, 9]);
        swapped.insert(4, [9; 32]);
        swapped.insert(9, [4; 32]);
        let result = check(&quote_of(&[4, 9]), &swapped, b"nonce");
        let (expected, actual) = (pcr_digest(&swapped), pcr_digest(&values(&[4, 9])));
        assert_eq!(result, Err(QuoteError::PcrDigest { expected, actual }));
    }

    #[test]
    fn errors_say_expected_and_actual() {
        let error = check(&quote_of(&[4, 9, 11]), &values(&[4]), b"nonce").unwrap_err();
        assert_eq!(error.to_string(), "quote selects PCRs 4,9,11, expected 4");
        let error = QuoteError::Bank { actual: 4 };
        assert_eq!(
            error.to_string(),
            "quote covers bank 0x0004, expected 0x000b (SHA-256)"
        );
    }
}
