//! The certificates of a platform's PCK: whose they say they are, and that they are Intel's.
//!
//! Intel's CAs are told apart by their names, of which the root sees to it that they are true.
//!
//! I/O: none.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::name::Name;

use super::{PckCa, PlatformKeyError};
use crate::pem;
use crate::roots::TrustRoots;

/// PCK, its CA, the root.
const CHAIN: usize = 3;

const PCK: &str = "Intel SGX PCK Certificate";
const PLATFORM_CA: &str = "Intel SGX PCK Platform CA";
const PROCESSOR_CA: &str = "Intel SGX PCK Processor CA";
const ROOT_CA: &str = "Intel SGX Root CA";
pub(super) const TCB_SIGNER: &str = "Intel SGX TCB Signing";

/// `id-at-commonName`, RFC 5280.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// `id-kp-serverAuth`, content of its DER: certificates that name a use must name this one.
/// Intel's name none.
const EKU: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A platform's certificates, DER: its PCK's, its CA's, the root's.
pub(super) struct PckChain {
    certificates: [Vec<u8>; CHAIN],
    pub(super) ca: PckCa,
}

impl PckChain {
    /// Parses a chain, PEM, leaf first. That it has Intel's names says nothing yet.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, PlatformKeyError> {
        let certificates = std::str::from_utf8(pem)
            .ok()
            .and_then(|pem| pem::certificates(pem, CHAIN))
            .ok_or_else(|| malformed("no PEM"))?;
        let actual = certificates.len();
        let certificates: [Vec<u8>; CHAIN] = certificates
            .try_into()
            .map_err(|_| malformed(&format!("{actual} certificates, expected {CHAIN}")))?;
        let [leaf, ca, root] = &certificates;
        let [leaf, ca, root] = [names(leaf)?, names(ca)?, names(root)?];
        let kind = match leaf.issuer.as_str() {
            PLATFORM_CA => PckCa::Platform,
            PROCESSOR_CA => PckCa::Processor,
            _ => return Err(other_name(leaf.issuer, PLATFORM_CA)),
        };
        for (actual, expected) in [
            (leaf.subject, PCK),
            (ca.subject, leaf.issuer.as_str()),
            (ca.issuer, ROOT_CA),
            (root.subject, ROOT_CA),
            (root.issuer, ROOT_CA),
        ] {
            if actual != expected {
                return Err(other_name(actual, expected));
            }
        }
        Ok(Self {
            certificates,
            ca: kind,
        })
    }

    /// The PCK's certificate.
    pub(super) fn leaf(&self) -> &[u8] {
        let [leaf, _, _] = &self.certificates;
        leaf
    }

    /// Verifies that the chain ends at the root. Revocation is left out.
    pub(super) fn verify(&self, roots: &TrustRoots, now: u64) -> Result<(), PlatformKeyError> {
        let [leaf, ca, _] = &self.certificates;
        let leaf = CertificateDer::from(leaf.as_slice());
        let root = CertificateDer::from(roots.intel());
        let verify = || {
            EndEntityCert::try_from(&leaf)?
                .verify_for_usage(
                    &[webpki::ring::ECDSA_P256_SHA256],
                    &[webpki::anchor_from_trusted_cert(&root)?],
                    &[CertificateDer::from(ca.as_slice())],
                    UnixTime::since_unix_epoch(Duration::from_secs(now)),
                    KeyUsage::required_if_present(EKU),
                    None,
                    None,
                )
                .map(|_| ())
        };
        verify().map_err(PlatformKeyError::Chain)
    }
}

/// Refuses a chain of a signer, PEM, leaf first, whose first certificate has another name than
/// Intel's signer of TCB info and QE identities.
pub(crate) fn check_signer(pem: &str) -> Result<(), PlatformKeyError> {
    let certificates = pem::certificates(pem, CHAIN).ok_or_else(|| malformed("no PEM"))?;
    let leaf = certificates.first().ok_or_else(|| malformed("no PEM"))?;
    let actual = names(leaf)?.subject;
    if actual != TCB_SIGNER {
        return Err(other_name(actual, TCB_SIGNER));
    }
    Ok(())
}

/// The common name of a certificate's owner.
pub(super) fn subject(der: &[u8]) -> Result<String, PlatformKeyError> {
    Ok(names(der)?.subject)
}

impl PckCa {
    /// Its name in certificates.
    pub(super) fn common_name(self) -> &'static str {
        match self {
            Self::Platform => PLATFORM_CA,
            Self::Processor => PROCESSOR_CA,
        }
    }
}

/// Common names.
struct Names {
    subject: String,
    issuer: String,
}

fn names(der: &[u8]) -> Result<Names, PlatformKeyError> {
    let certificate = Certificate::from_der(der).map_err(|error| malformed(&error.to_string()))?;
    let certificate = certificate.tbs_certificate();
    Ok(Names {
        subject: common_name(certificate.subject()),
        issuer: common_name(certificate.issuer()),
    })
}

/// The one common name; empty if there is none, or several.
fn common_name(name: &Name) -> String {
    let mut names = name.iter().filter(|pair| pair.oid == COMMON_NAME);
    let first = names.next().and_then(text);
    first.filter(|_| names.next().is_none()).unwrap_or_default()
}

fn text(pair: &AttributeTypeAndValue) -> Option<String> {
    let value = &pair.value;
    let utf8 = value
        .decode_as::<Utf8StringRef<'_>>()
        .map(|text| text.as_str().to_owned());
    let printable = || value.decode_as::<PrintableStringRef<'_>>();
    utf8.or_else(|_| printable().map(|text| text.as_str().to_owned()))
        .ok()
}

fn malformed(why: &str) -> PlatformKeyError {
    PlatformKeyError::Pck(why.to_owned())
}

fn other_name(actual: impl Into<String>, expected: &str) -> PlatformKeyError {
    PlatformKeyError::Name {
        actual: actual.into(),
        expected: expected.to_owned(),
    }
}
