//! A quote captured from an Azure vTPM, and what becomes of it when anything is changed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads its vectors and stops at the first surprise"
)]

use std::collections::BTreeMap;

use attestation::tpm_quote::{AkPublic, QuoteError, VerifiedQuote, parse, verify};

const NONCE: &[u8] = b"challenge";

/// The capture: `tpm/` of the shared vectors.
struct Capture {
    quote: Vec<u8>,
    signature: Vec<u8>,
    pcrs: BTreeMap<u8, [u8; 32]>,
    ak: AkPublic,
}

impl Capture {
    /// `None` if the vectors are not on this machine, which in CI is a failure.
    fn read() -> Option<Self> {
        let vectors = testkit::needed::vectors("tpm")?;
        let (signature, quote, pcrs) = split(&std::fs::read(vectors.join("quote.bin")).unwrap());
        let pem = std::fs::read_to_string(vectors.join("akpub.pem")).unwrap();
        Some(Self {
            quote,
            signature: tpmt_signature(&signature),
            pcrs,
            ak: ak_from_pem(&pem),
        })
    }

    fn verify(&self) -> Result<VerifiedQuote, QuoteError> {
        verify(&self.quote, &self.signature, &self.ak, &self.pcrs, NONCE)
    }
}

/// Signature and quote, each after its length, then the number of registers and their values;
/// lengths and number are little-endian `u64`.
fn split(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>, BTreeMap<u8, [u8; 32]>) {
    let number = |bytes: &mut &[u8]| {
        let (number, rest) = bytes.split_first_chunk::<8>().unwrap();
        *bytes = rest;
        usize::try_from(u64::from_le_bytes(*number)).unwrap()
    };
    let field = |bytes: &mut &[u8]| {
        let length = number(bytes);
        let (field, rest) = bytes.split_at(length);
        *bytes = rest;
        field.to_vec()
    };
    let (signature, quote) = (field(&mut bytes), field(&mut bytes));
    let count = number(&mut bytes);
    let (values, []) = bytes.as_chunks::<32>() else {
        panic!("registers have 32 bytes")
    };
    assert_eq!(values.len(), count);
    (
        signature,
        quote,
        (0..).zip(values.iter().copied()).collect(),
    )
}

/// The capture has the signature proper; a TPM returns it in this form.
fn tpmt_signature(signature: &[u8]) -> Vec<u8> {
    [&b"\x00\x14\x00\x0b\x01\x00"[..], signature].concat()
}

/// An RSA-2048 SubjectPublicKeyInfo always has its modulus at 33..289 and its exponent at the end.
fn ak_from_pem(pem: &str) -> AkPublic {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64(&text);
    assert_eq!(der.len(), 294);
    AkPublic::from_rsa(&der[33..289], &der[291..]).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut value, mut bits) = (0_u32, 0);
    for character in text.bytes().filter(|character| *character != b'=') {
        let digit = ALPHABET
            .iter()
            .position(|letter| *letter == character)
            .unwrap();
        value = value << 6 | u32::try_from(digit).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
            value &= (1 << bits) - 1;
        }
    }
    bytes
}

#[test]
fn the_captured_quote_proves_its_registers() {
    let Some(capture) = Capture::read() else {
        return;
    };
    let verified = capture.verify().unwrap();
    assert_eq!(verified.pcrs(), &capture.pcrs);
    assert_eq!(verified.pcrs().len(), 24);
    assert_eq!(verified.pcr(17), Some(&[0xff; 32]));
    assert_eq!(verified.pcr(24), None);
    assert_eq!(verified.clock().reset_count, 3);
}

#[test]
fn any_flipped_byte_of_the_quote_is_refused() {
    let Some(mut capture) = Capture::read() else {
        return;
    };
    for position in 0..capture.quote.len() {
        capture.quote[position] ^= 1 << (position % 8);
        assert_eq!(capture.verify(), Err(QuoteError::Signature), "{position}");
        capture.quote[position] ^= 1 << (position % 8);
    }
}

#[test]
fn any_flipped_byte_of_the_signature_is_refused() {
    let Some(mut capture) = Capture::read() else {
        return;
    };
    for position in 0..capture.signature.len() {
        capture.signature[position] ^= 1 << (position % 8);
        assert!(capture.verify().is_err(), "{position}");
        capture.signature[position] ^= 1 << (position % 8);
    }
}

#[test]
fn any_flipped_byte_of_a_register_is_refused() {
    let Some(mut capture) = Capture::read() else {
        return;
    };
    for register in 0..24 {
        for position in 0..32 {
            capture.pcrs.get_mut(&register).unwrap()[position] ^= 1 << (position % 8);
            let result = capture.verify();
            assert!(
                matches!(result, Err(QuoteError::PcrDigest { .. })),
                "{register} {position}"
            );
            capture.pcrs.get_mut(&register).unwrap()[position] ^= 1 << (position % 8);
        }
    }
}

#[test]
fn another_key_is_refused() {
    let Some(mut capture) = Capture::read() else {
        return;
    };
    let mut modulus = capture.ak.modulus().to_vec();
    modulus[100] ^= 1;
    capture.ak = AkPublic::from_rsa(&modulus, &[1, 0, 1]).unwrap();
    assert_eq!(capture.verify(), Err(QuoteError::Signature));
}

#[test]
fn another_nonce_is_refused() {
    let Some(capture) = Capture::read() else {
        return;
    };
    for nonce in [&b"challenge2"[..], b"challeng", b""] {
        let result = verify(
            &capture.quote,
            &capture.signature,
            &capture.ak,
            &capture.pcrs,
            nonce,
        );
        assert_eq!(result, Err(QuoteError::QualifyingData));
    }
}

#[test]
fn a_register_left_out_is_refused() {
    let Some(capture) = Capture::read() else {
        return;
    };
    for register in 0..24 {
        let mut pcrs = capture.pcrs.clone();
        pcrs.remove(&register);
        let result = verify(
            &capture.quote,
            &capture.signature,
            &capture.ak,
            &pcrs,
            NONCE,
        );
        assert!(
            matches!(result, Err(QuoteError::PcrSelection { .. })),
            "{register}"
        );
    }
}

#[test]
fn the_captured_quote_says_what_it_is_about() {
    let Some(capture) = Capture::read() else {
        return;
    };
    let quote = parse(&capture.quote).unwrap();
    assert_eq!(quote.qualifying_data, NONCE);
    assert_eq!(quote.selections, [(0x000b, (0..24).collect())]);
}
