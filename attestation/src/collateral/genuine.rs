//! Whether collateral is what Intel says about a platform, whatever the time and the quote.
//!
//! The verifier checks all of this and more, with each quote; here it decides whether collateral
//! is worth keeping: what is not would have every quote refused for as long as it is kept. Left
//! out: dates, revocation, and whether the platform is up to date.
//!
//! I/O: none.

use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode, Reader, SliceReader};

use super::pck::{self, TCB_SIGNER};
use super::{Collateral, PlatformKey};
use crate::pem;
use crate::roots::TrustRoots;

/// Certificates of a signer's chain.
const CHAIN: usize = 3;

/// Why collateral is not what Intel says about a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotGenuine {
    /// A part's signer is not one that the root has certified, or not the one for this part.
    #[error("the {part} is not signed by {expected}")]
    Signer {
        /// Which part.
        part: &'static str,
        /// Who should have.
        expected: &'static str,
    },
    /// A part was altered, or signed with another key.
    #[error("the signature of the {part} is wrong")]
    Signature {
        /// Which part.
        part: &'static str,
    },
    /// It is about another platform.
    #[error("the TCB info is about platforms of FMSPC {actual}, expected {expected}")]
    Platform {
        /// Of which it should be.
        expected: String,
        /// Of which it is.
        actual: String,
    },
}

/// The one member of a TCB info that is looked at.
#[derive(Deserialize)]
struct About {
    fmspc: String,
}

impl Collateral {
    /// Checks that every part is signed by Intel and about this platform.
    pub(crate) fn check_genuine(
        &self,
        platform: PlatformKey,
        roots: &TrustRoots,
    ) -> Result<(), NotGenuine> {
        let parts = self.as_dcap();
        let root = key_of(roots.intel()).unwrap_or_default();
        let signer = |part, chain: &str, expected| {
            signer(chain, &root, expected).ok_or(NotGenuine::Signer { part, expected })
        };
        let documents = [
            (
                "TCB info",
                &parts.tcb_info_issuer_chain,
                &parts.tcb_info,
                &parts.tcb_info_signature,
            ),
            (
                "QE identity",
                &parts.qe_identity_issuer_chain,
                &parts.qe_identity,
                &parts.qe_identity_signature,
            ),
        ];
        for (part, chain, text, signature) in documents {
            let key = signer(part, chain, TCB_SIGNER)?;
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NotGenuine::Signature { part })?;
        }
        let ca = platform.ca.common_name();
        let ca_key = signer("PCK CRL", &parts.pck_crl_issuer_chain, ca)?;
        for (part, crl, key) in [
            ("PCK CRL", &parts.pck_crl, &ca_key),
            ("root CRL", &parts.root_ca_crl, &root),
        ] {
            check_signed(crl, key).ok_or(NotGenuine::Signature { part })?;
        }
        let expected = platform.fmspc_hex();
        let about: Option<About> = serde_json::from_str(&parts.tcb_info).ok();
        let actual = about.map(|about| about.fmspc).unwrap_or_default();
        if !actual.eq_ignore_ascii_case(&expected) {
            return Err(NotGenuine::Platform { expected, actual });
        }
        Ok(())
    }
}

/// The key of a chain's first certificate, if that has this name and the root has signed it.
fn signer(chain: &str, root: &[u8], name: &str) -> Option<Vec<u8>> {
    let certificates = pem::certificates(chain, CHAIN)?;
    let leaf = certificates.first()?;
    check_signed(leaf, root)?;
    (pck::subject(leaf).ok()? == name).then(|| key_of(leaf))?
}

/// The point that is a certificate's key.
fn key_of(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    Some(key.subject_public_key.raw_bytes().to_vec())
}

/// Checks the signature of a certificate or CRL: RFC 5280 makes both a sequence of what is
/// signed, the algorithm and the signature.
fn check_signed(der: &[u8], key: &[u8]) -> Option<()> {
    let mut reader = SliceReader::new(der).ok()?;
    let (signed, signature) = reader
        .sequence(|reader| {
            let signed = reader.tlv_bytes()?;
            AnyRef::decode(reader)?;
            Ok::<_, x509_cert::der::Error>((signed, BitStringRef::decode(reader)?))
        })
        .ok()?;
    let signature = signature.as_bytes()?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
        .verify(signed, signature)
        .ok()
}
