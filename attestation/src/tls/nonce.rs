//! Nonces of Constellation-style aTLS, and the two places they travel in.
//!
//! A client's nonce is the server name of its ClientHello; a server's is the only name in the
//! list of certificate authorities of its CertificateRequest. Both are base64.
//!
//! I/O: draws from the kernel's random number generator.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Reader, SliceReader, Tag, Tagged};

/// Bytes in a nonce of ours, as in those of existing Go programs.
const LENGTH: usize = 32;

/// Bytes in a client's nonce that is taken for one. Fewer are not random enough to be fresh, and
/// are more likely a host name; more do not fit a DNS label, in which some clients must put it.
const PLAUSIBLE: RangeInclusive<usize> = LENGTH..=48;

/// Bytes in a server's nonce that is answered. Freshness is the server's concern.
const ANSWERED: RangeInclusive<usize> = 1..=64;

/// X.520 `commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What one side chose so that the other's evidence is made for it and now.
#[derive(Clone, Eq, PartialEq)]
pub struct Nonce(Vec<u8>);

/// Why a server's request cannot be answered with evidence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NonceError {
    /// An aTLS server names exactly one certificate authority.
    #[error("expected one name in the server's list of certificate authorities, got {actual}")]
    Names {
        /// How many there are.
        actual: usize,
    },
    /// The name is none, or has no common name.
    #[error("the certificate authority's name has no common name")]
    CommonName,
    /// The common name is something else.
    #[error(
        "expected base64 of {} to {} bytes as the certificate authority's common name",
        ANSWERED.start(), ANSWERED.end()
    )]
    Encoding,
}

impl Nonce {
    /// A new one; `None` if the kernel has no randomness, which does not happen after boot.
    pub(super) fn fresh() -> Option<Self> {
        let mut bytes = vec![0; LENGTH];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The nonce in a ClientHello's server name; `None` if it is an ordinary name.
    pub fn from_server_name(name: &[u8]) -> Option<Self> {
        decode(name, PLAUSIBLE)
    }

    /// The nonce in a server's list of certificate authorities, each a DER `Name`.
    ///
    /// # Errors
    ///
    /// [`NonceError`] if it is no list of an aTLS server.
    pub fn from_authorities(names: &[Vec<u8>]) -> Result<Self, NonceError> {
        let [name] = names else {
            return Err(NonceError::Names {
                actual: names.len(),
            });
        };
        let common_name = first_common_name(name).ok_or(NonceError::CommonName)?;
        decode(common_name, ANSWERED).ok_or(NonceError::Encoding)
    }

    /// The bytes, decoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Base64, which is how it travels.
impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Nonce({self})")
    }
}

fn decode(text: &[u8], lengths: RangeInclusive<usize>) -> Option<Nonce> {
    // The longest nonce that is read has 88 characters; names come from anybody.
    if text.len() > 128 {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    lengths.contains(&bytes.len()).then_some(Nonce(bytes))
}

/// The first common name in a DER `Name` (RFC 5280, section 4.1.2.4), as text.
fn first_common_name(name: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(name).ok()?;
    let mut sets = SliceReader::new(sequence(&mut reader, Tag::Sequence)?).ok()?;
    while !sets.is_finished() {
        let mut attributes = SliceReader::new(sequence(&mut sets, Tag::Set)?).ok()?;
        while !attributes.is_finished() {
            let attribute = sequence(&mut attributes, Tag::Sequence)?;
            let mut attribute = SliceReader::new(attribute).ok()?;
            let kind = ObjectIdentifier::decode(&mut attribute).ok()?;
            let value = AnyRef::decode(&mut attribute).ok()?;
            if kind == COMMON_NAME {
                return text(value);
            }
        }
    }
    None
}

fn sequence<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Option<&'a [u8]> {
    let value = AnyRef::decode(reader).ok()?;
    (value.tag() == tag).then(|| value.value())
}

fn text(value: AnyRef<'_>) -> Option<&[u8]> {
    match value.tag() {
        Tag::PrintableString => {
            value.decode_as::<PrintableStringRef<'_>>().ok()?;
            Some(value.value())
        }
        Tag::Utf8String => {
            value.decode_as::<Utf8StringRef<'_>>().ok()?;
            Some(value.value())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5280 `Name` with one attribute of each pair of type and value, each in its own set.
    fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let tlv = |tag: u8, content: &[u8]| {
            assert!(content.len() < 128);
            [&[tag, content.len() as u8], content].concat()
        };
        let sets: Vec<u8> = attributes
            .iter()
            .flat_map(|(kind, tag, value)| {
                let attribute = [tlv(6, kind), tlv(*tag, value)].concat();
                tlv(0x31, &tlv(0x30, &attribute))
            })
            .collect();
        tlv(0x30, &sets)
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn a_fresh_nonce_travels_as_go_programs_send_it() {
        let nonce = Nonce::fresh().unwrap();
        let text = nonce.to_string();
        assert_eq!((text.len(), text.ends_with('=')), (44, true));
        assert_eq!(
            Nonce::from_server_name(text.as_bytes()),
            Some(nonce.clone())
        );
        assert_ne!(Nonce::fresh().unwrap(), nonce);
        for tag in [0x13, 0x0c] {
            let authority = name(&[(CN, tag, text.as_bytes())]);
            assert_eq!(Nonce::from_authorities(&[authority]), Ok(nonce.clone()));
        }
    }

    #[test]
    fn ordinary_names_are_no_nonces() {
        for name in [
            "",
            "test",
            "localhost",
            "node.example.com",
            "dGVzdA==",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "kO0pRDkbQ2BLvhVxh2oEBVZJ4WbiA9OwIt5pHZkE0bE",
            "kO0pRDkbQ2BLvhVxh2oEBVZJ4WbiA9OwIt5pHZkE0bF=",
            &"a".repeat(68),
            &"a".repeat(4000),
        ] {
            assert_eq!(Nonce::from_server_name(name.as_bytes()), None, "{name}");
        }
        // 44 letters that are a DNS label too: 33 bytes.
        assert!(Nonce::from_server_name(&[b'a'; 44]).is_some());
    }

    #[test]
    fn one_authority_and_its_first_common_name_count() {
        let text = Nonce::fresh().unwrap().to_string();
        let good = name(&[
            (O, 0x0c, b"x"),
            (CN, 0x13, text.as_bytes()),
            (CN, 0x13, b"y"),
        ]);
        assert!(Nonce::from_authorities(std::slice::from_ref(&good)).is_ok());
        for (names, expected) in [
            (vec![], NonceError::Names { actual: 0 }),
            (vec![good.clone(), good], NonceError::Names { actual: 2 }),
            (vec![vec![]], NonceError::CommonName),
            (vec![vec![0x30, 5, 1]], NonceError::CommonName),
            (vec![name(&[(O, 0x0c, b"x")])], NonceError::CommonName),
            (
                vec![name(&[(CN, 4, text.as_bytes())])],
                NonceError::CommonName,
            ),
            (vec![name(&[(CN, 0x0c, b"Root CA")])], NonceError::Encoding),
            (vec![name(&[(CN, 0x0c, b"")])], NonceError::Encoding),
        ] {
            assert_eq!(Nonce::from_authorities(&names), Err(expected));
        }
    }
}
