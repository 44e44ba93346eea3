//! The AK's certificate: Microsoft's word that the key is in one of its vTPMs.
//!
//! It adds to what the TD quote proves and is not always sent; if it is, it must be right.
//!
//! Left out: revocation. Azure's AK certificates name no CRL and no OCSP service (the captured
//! ones have no such extension), so there is nothing to ask whether one is revoked; they are valid
//! for a year. Only the intermediate names a CRL, its root's. It is not fetched: the TD quote
//! alone vouches for the AK, and a CA that was revoked could but add its word to that.
//!
//! I/O: none.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader};

use super::{AkSource, VerifyError};
use crate::roots::{AZURE_AK_INTERMEDIATE, TrustRoots};
use crate::tpm_quote::AkPublic;

/// `tcg-kp-AIKCertificate`, 2.23.133.8.3, content of its DER.
const EKU_AK: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];

/// `rsaEncryption`, RFC 8017.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why an AK's certificate cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AkCertificateError {
    /// It is not a certificate of an RSA key.
    #[error("the certificate is malformed")]
    Malformed,
    /// It does not chain to a root, is expired, or is for something else.
    #[error("the certificate does not chain to a trusted root")]
    Chain(#[source] webpki::Error),
    /// A trusted root is not a certificate.
    #[error("a trusted root is malformed")]
    Root(#[source] webpki::Error),
}

/// Verifies the AK's certificate, if there is one, and says whether there is.
pub(super) fn verify(
    chain: &[Vec<u8>],
    ak: &AkPublic,
    roots: &TrustRoots,
    now: u64,
) -> Result<bool, VerifyError> {
    let [leaf, issuers @ ..] = chain else {
        return Ok(false);
    };
    let leaf = without_padding(leaf).ok_or(AkCertificateError::Malformed)?;
    if key_of(leaf)? != *ak {
        return Err(VerifyError::OtherAk(AkSource::Certificate));
    }
    verify_chain(leaf, issuers, roots, now)?;
    Ok(true)
}

fn verify_chain(
    leaf: &[u8],
    issuers: &[Vec<u8>],
    roots: &TrustRoots,
    now: u64,
) -> Result<(), AkCertificateError> {
    let roots: Vec<CertificateDer<'_>> = roots.azure_ak().map(CertificateDer::from).collect();
    let anchors = roots
        .iter()
        .map(webpki::anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(AkCertificateError::Root)?;
    let issuers: Vec<CertificateDer<'_>> = issuers
        .iter()
        .map(Vec::as_slice)
        .chain([AZURE_AK_INTERMEDIATE])
        .map(|issuer| CertificateDer::from(without_padding(issuer).unwrap_or(issuer)))
        .collect();
    let leaf = CertificateDer::from(leaf);
    EndEntityCert::try_from(&leaf)
        .and_then(|leaf| {
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &issuers,
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
                KeyUsage::required_if_present(EKU_AK),
                None,
                None,
            )
            .map(|_| ())
        })
        .map_err(AkCertificateError::Chain)
}

/// The certificate without what follows it: Azure's NV index is padded with zeros.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let certificate = reader.tlv_bytes().ok()?;
    let padding = bytes.get(certificate.len()..)?;
    padding.iter().all(|byte| *byte == 0).then_some(certificate)
}

fn key_of(der: &[u8]) -> Result<AkPublic, VerifyError> {
    let malformed = |_| AkCertificateError::Malformed;
    let certificate = Certificate::from_der(der).map_err(malformed)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(AkCertificateError::Malformed.into());
    }
    // `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
    let mut reader = SliceReader::new(key.subject_public_key.raw_bytes()).map_err(malformed)?;
    let (modulus, exponent) = reader
        .sequence(|reader| {
            Ok::<_, x509_cert::der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?))
        })
        .map_err(malformed)?;
    Ok(AkPublic::from_rsa(modulus.as_bytes(), exponent.as_bytes())?)
}
