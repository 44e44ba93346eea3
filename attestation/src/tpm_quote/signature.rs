//! `TPMT_SIGNATURE`: what the TPM returns beside what it signed.
//!
//! I/O: none.

use super::ak::MODULUS_SIZE;
use super::wire::{ParseError, Reader};
use super::{ALG_RSASSA, ALG_SHA256};

/// Parses an RSASSA, SHA-256 signature; returns the signature proper, big endian.
///
/// Layout: TPM 2.0 Library, Part 2, `TPMT_SIGNATURE` and `TPMS_SIGNATURE_RSA`.
pub(super) fn parse(bytes: &[u8]) -> Result<&[u8], ParseError> {
    let mut reader = Reader::new(bytes);
    reader.expect_u16("sigAlg", ALG_RSASSA)?;
    reader.expect_u16("hash", ALG_SHA256)?;
    let (least, most) = MODULUS_SIZE;
    let signature = reader.sized("sig", least, most)?;
    reader.finish("TPMT_SIGNATURE")?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> Vec<u8> {
        [&b"\x00\x14\x00\x0b\x01\x00"[..], &[0x77; 256]].concat()
    }

    #[test]
    fn the_signature_is_taken_out() {
        assert_eq!(parse(&bytes()), Ok(&[0x77; 256][..]));
    }

    #[test]
    fn other_algorithms_are_refused() {
        let (mut ecdsa, mut sha1) = (bytes(), bytes());
        ecdsa[1] = 0x18;
        sha1[3] = 0x04;
        let expected = ParseError::Value {
            field: "sigAlg",
            expected: 0x14,
            actual: 0x18,
        };
        assert_eq!(parse(&ecdsa), Err(expected));
        let expected = ParseError::Value {
            field: "hash",
            expected: 0x0b,
            actual: 0x04,
        };
        assert_eq!(parse(&sha1), Err(expected));
    }

    #[test]
    fn every_shorter_and_every_longer_text_is_refused() {
        let whole = bytes();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err());
        }
        assert!(parse(&[&whole[..], &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
