//! The attestation key's public half.
//!
//! I/O: none.

use ring::rsa::PublicKeyComponents;
use ring::signature::RSA_PKCS1_2048_8192_SHA256;

use super::wire::{ParseError, Reader};
use super::{ALG_RSASSA, ALG_SHA256};

/// Least and most bytes of a modulus, and so of a signature: RSA-2048 to RSA-4096.
pub(super) const MODULUS_SIZE: (usize, usize) = (256, 512);

/// 65537, the only exponent that TPMs must support; TPM 2.0 Library, Part 2, `TPMS_RSA_PARMS`.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// `TPM_ALG_RSA`, TPM 2.0 Library, Part 2, "TPM_ALG_ID".
const ALG_RSA: u16 = 0x0001;

/// `TPM_ALG_NULL`, the same table.
const ALG_NULL: u16 = 0x0010;

/// `fixedTPM`, `fixedParent`, `sensitiveDataOrigin`, `restricted`, `sign`: the key was made in
/// this TPM, cannot leave it, and signs nothing of the `TPM_GENERATED` form but the TPM's own.
/// TPM 2.0 Library, Part 2, `TPMA_OBJECT`.
const REQUIRED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18;

/// `decrypt`: a key that also decrypts is not a signing key.
const FORBIDDEN: u32 = 1 << 17;

/// An RSA attestation key, public half; at least 2048 bits, exponent 65537.
///
/// Two are equal if they verify the same signatures, wherever they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkPublic {
    /// Big endian, without leading zeros.
    modulus: Vec<u8>,
}

/// Why a key cannot be an attestation key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AkError {
    /// The bytes are not an RSA key with scheme RSASSA, SHA-256, in a TPM's form.
    #[error("key is malformed")]
    Malformed(#[source] ParseError),

    /// The key could have been made elsewhere, or made to sign what looks like a quote.
    #[error(
        "key attributes are {actual:#010x}, expected {REQUIRED:#010x} set and {FORBIDDEN:#010x} not"
    )]
    Attributes {
        /// The key's `TPMA_OBJECT`.
        actual: u32,
    },

    /// The modulus is too short to be safe, or longer than any TPM makes.
    #[error("modulus has {actual} bits, expected 2048 to 4096")]
    ModulusSize {
        /// Bits, in whole bytes.
        actual: usize,
    },

    /// The exponent is not 65537.
    #[error("exponent is not 65537")]
    Exponent,
}

impl AkPublic {
    /// Parses a `TPMT_PUBLIC`, big endian, without a size in front, and checks that it describes
    /// a restricted signing key that was made in its TPM and cannot leave it.
    ///
    /// Layout: TPM 2.0 Library, Part 2, `TPMT_PUBLIC`. The description is only as true as its
    /// source: it is trusted once the key is bound to a TEE or certified.
    ///
    /// # Errors
    ///
    /// Any [`AkError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AkError> {
        let public = parse_public(bytes).map_err(AkError::Malformed)?;
        let actual = public.attributes;
        if actual & REQUIRED != REQUIRED || actual & FORBIDDEN != 0 {
            return Err(AkError::Attributes { actual });
        }
        // 0 stands for the default; TPM 2.0 Library, Part 2, `TPMS_RSA_PARMS`.
        let exponent = match public.exponent {
            0 => &EXPONENT[..],
            _ => &public.exponent.to_be_bytes(),
        };
        let key = Self::from_rsa(public.modulus, exponent)?;
        let bits = bits(&key.modulus);
        if usize::from(public.key_bits) != bits {
            return Err(AkError::ModulusSize { actual: bits });
        }
        Ok(key)
    }

    /// Takes a modulus and an exponent, both big endian; leading zeros are ignored.
    ///
    /// For a key from a certificate or a JWK. Such a source says nothing about the key's
    /// attributes: that it is a restricted signing key must be known otherwise.
    ///
    /// # Errors
    ///
    /// [`AkError::ModulusSize`] or [`AkError::Exponent`].
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, AkError> {
        let modulus = without_leading_zeros(modulus);
        let (least, most) = MODULUS_SIZE;
        if !(least..=most).contains(&modulus.len()) {
            return Err(AkError::ModulusSize {
                actual: bits(modulus),
            });
        }
        if without_leading_zeros(exponent) != EXPONENT {
            return Err(AkError::Exponent);
        }
        Ok(Self {
            modulus: modulus.to_vec(),
        })
    }

    /// The modulus, big endian, without leading zeros.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Whether `signature` is this key's RSASSA, SHA-256 signature of `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        PublicKeyComponents {
            n: self.modulus.as_slice(),
            e: EXPONENT.as_slice(),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
    }
}

/// What matters of a `TPMT_PUBLIC`.
struct Public<'a> {
    attributes: u32,
    key_bits: u16,
    exponent: u32,
    modulus: &'a [u8],
}

fn parse_public(bytes: &[u8]) -> Result<Public<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    reader.expect_u16("type", ALG_RSA)?;
    reader.u16("nameAlg")?;
    let attributes = reader.u32("objectAttributes")?;
    reader.sized("authPolicy", 0, 64)?;
    reader.expect_u16("symmetric", ALG_NULL)?;
    reader.expect_u16("scheme", ALG_RSASSA)?;
    reader.expect_u16("hashAlg", ALG_SHA256)?;
    let key_bits = reader.u16("keyBits")?;
    let exponent = reader.u32("exponent")?;
    let (_, most) = MODULUS_SIZE;
    let modulus = reader.sized("unique", 0, most)?;
    reader.finish("TPMT_PUBLIC")?;
    Ok(Public {
        attributes,
        key_bits,
        exponent,
        modulus,
    })
}

fn bits(modulus: &[u8]) -> usize {
    modulus.len().saturating_mul(8)
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULUS: [u8; 256] = [0xc3; 256];

    /// As an Azure vTPM describes its AK: attributes, key bits, exponent.
    fn bytes(attributes: u32, key_bits: u16, exponent: u32) -> Vec<u8> {
        let mut bytes = b"\x00\x01\x00\x0b".to_vec();
        bytes.extend(attributes.to_be_bytes());
        bytes.extend(b"\x00\x00\x00\x10\x00\x14\x00\x0b");
        bytes.extend(key_bits.to_be_bytes());
        bytes.extend(exponent.to_be_bytes());
        bytes.extend(b"\x01\x00");
        bytes.extend(MODULUS);
        bytes
    }

    /// `userWithAuth` and `noDA` beside what is required.
    const ATTRIBUTES: u32 = 0x0005_0472;

    #[test]
    fn one_key_from_two_sources_is_equal() {
        let parsed = AkPublic::parse(&bytes(ATTRIBUTES, 2048, 0)).unwrap();
        assert_eq!(
            parsed,
            AkPublic::parse(&bytes(ATTRIBUTES, 2048, 65537)).unwrap()
        );
        let padded = [&[0, 0][..], &MODULUS].concat();
        assert_eq!(AkPublic::from_rsa(&padded, &[0, 1, 0, 1]), Ok(parsed));
    }

    #[test]
    fn each_attribute_matters() {
        for bit in [1, 4, 5, 16, 18] {
            let actual = ATTRIBUTES & !(1 << bit);
            let result = AkPublic::parse(&bytes(actual, 2048, 0));
            assert_eq!(result, Err(AkError::Attributes { actual }));
        }
        let actual = ATTRIBUTES | FORBIDDEN;
        let result = AkPublic::parse(&bytes(actual, 2048, 0));
        assert_eq!(result, Err(AkError::Attributes { actual }));
    }

    #[test]
    fn weak_keys_are_refused() {
        let result = AkPublic::from_rsa(&MODULUS[1..], &EXPONENT);
        assert_eq!(result, Err(AkError::ModulusSize { actual: 2040 }));
        assert_eq!(AkPublic::from_rsa(&MODULUS, &[3]), Err(AkError::Exponent));
        assert_eq!(AkPublic::from_rsa(&MODULUS, &[]), Err(AkError::Exponent));
        let result = AkPublic::parse(&bytes(ATTRIBUTES, 2048, 3));
        assert_eq!(result, Err(AkError::Exponent));
        let result = AkPublic::parse(&bytes(ATTRIBUTES, 4096, 0));
        assert_eq!(result, Err(AkError::ModulusSize { actual: 2048 }));
    }

    #[test]
    fn every_shorter_and_every_longer_text_is_refused() {
        let whole = bytes(ATTRIBUTES, 2048, 0);
        assert_eq!(whole.len(), 280);
        for length in 0..whole.len() {
            assert!(AkPublic::parse(&whole[..length]).is_err());
        }
        assert!(AkPublic::parse(&[&whole[..], &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = AkPublic::parse(&bytes);
        }

        #[test]
        fn no_changed_key_makes_it_panic(position in 0..280_usize, value: u8) {
            let mut bytes = bytes(ATTRIBUTES, 2048, 0);
            bytes[position] = value;
            let _ = AkPublic::parse(&bytes);
        }
    }
}
