//! The AK's certificate, as the vTPM has it.
//!
//! I/O: none.

use attestation::tpm_quote::AkPublic;
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode, Reader, SliceReader};

/// `rsaEncryption`, RFC 8017, appendix C.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why an NV index does not hold the AK's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It does not begin with a certificate of an RSA key.
    #[error("expected a certificate of an RSA key")]
    Malformed(#[source] der::Error),
    /// It certifies a key that is not RSA.
    #[error("it certifies a key of type {actual}, expected RSA ({RSA_ENCRYPTION})")]
    KeyType {
        /// The key's algorithm.
        actual: ObjectIdentifier,
    },
    /// It certifies another key.
    #[error("it certifies another key than the AK")]
    OtherKey,
}

/// Takes the DER certificate of `ak` from the beginning of what an NV index holds.
///
/// Azure's index is larger than the certificate, and what follows it is not always zero
/// (`spec/attestation.md` B.1). Who issued the certificate is not checked.
///
/// # Errors
///
/// [`CertificateError`] if it is something else, or of another key.
pub fn parse_ak_certificate<'a>(
    content: &'a [u8],
    ak: &AkPublic,
) -> Result<&'a [u8], CertificateError> {
    let malformed = CertificateError::Malformed;
    let mut reader = SliceReader::new(content).map_err(malformed)?;
    let der = reader.tlv_bytes().map_err(malformed)?;
    let certificate = Certificate::from_der(der).map_err(malformed)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    let actual = key.algorithm.oid;
    if actual != RSA_ENCRYPTION {
        return Err(CertificateError::KeyType { actual });
    }
    // RFC 8017, A.1.1: `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
    let bits = key.subject_public_key.raw_bytes();
    let mut reader = SliceReader::new(bits).map_err(malformed)?;
    let modulus = reader
        .sequence(|reader| {
            let modulus = UintRef::decode(reader)?;
            UintRef::decode(reader)?;
            Ok::<_, der::Error>(modulus)
        })
        .map_err(malformed)?;
    match modulus.as_bytes() == ak.modulus() {
        true => Ok(der),
        false => Err(CertificateError::OtherKey),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use testkit::tee::Tee;

    use super::*;

    fn certificate() -> (Vec<u8>, AkPublic, AkPublic) {
        let tee = Tee::new(
            1,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        );
        let ak = AkPublic::from_rsa(tee.ak().modulus(), &[1, 0, 1]).unwrap();
        let other = AkPublic::from_rsa(&[0xff; 256], &[1, 0, 1]).unwrap();
        (tee.ak_certificates(&tee.ak()).leaf, ak, other)
    }

    #[test]
    fn what_follows_the_certificate_is_cut_off() {
        let (der, ak, _) = certificate();
        for trailing in [&b""[..], &[0; 100], b"\xff\x01leftovers"] {
            let content = [&der[..], trailing].concat();
            assert_eq!(parse_ak_certificate(&content, &ak), Ok(&der[..]));
        }
    }

    #[test]
    fn other_keys_and_other_bytes_are_refused() {
        let (der, ak, other) = certificate();
        let result = parse_ak_certificate(&der, &other);
        assert_eq!(result, Err(CertificateError::OtherKey));
        for length in 0..der.len() {
            assert!(parse_ak_certificate(&der[..length], &ak).is_err());
        }
        assert!(parse_ak_certificate(&[0; 512], &ak).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            position in 0..800_usize,
            value: u8,
        ) {
            let (mut der, ak, _) = certificate();
            let _ = parse_ak_certificate(&bytes, &ak);
            if let Some(byte) = der.get_mut(position) {
                *byte = value;
            }
            let _ = parse_ak_certificate(&der, &ak);
        }
    }
}
