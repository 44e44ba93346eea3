//! Certificates in what a node has answered, for people to compare with what they know.
//!
//! I/O: none.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What is said of a certificate. Its signature is not verified.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Described {
    /// SHA-256 of the DER.
    pub(crate) sha256: String,
    /// The names that it is for; its subject if it has none.
    pub(crate) names: Vec<String>,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
}

/// The certificates in a text, if it is one in PEM and each of them can be read.
pub(crate) fn describe(body: &[u8]) -> Vec<Described> {
    let certificates = CertificateDer::pem_slice_iter(body);
    let described = certificates.map(|der| one(der.ok()?.as_ref()));
    described.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn one(der: &[u8]) -> Option<Described> {
    let certificate = Certificate::from_der(der).ok()?;
    let fields = certificate.tbs_certificate();
    let digest = Sha256::digest(der);
    let sha256: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let validity = fields.validity();
    Some(Described {
        sha256: sha256.join(":"),
        names: names(&certificate),
        not_before: validity.not_before.to_date_time().to_string(),
        not_after: validity.not_after.to_date_time().to_string(),
    })
}

fn names(certificate: &Certificate) -> Vec<String> {
    let fields = certificate.tbs_certificate();
    let alternatives = fields.get_extension::<SubjectAltName>().ok().flatten();
    let alternatives = alternatives.map(|(_, SubjectAltName(names))| names);
    let names: Vec<String> = alternatives.iter().flatten().filter_map(name).collect();
    match names.is_empty() {
        true => vec![fields.subject().to_string()],
        false => names,
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).ok().map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).ok().map(std::net::IpAddr::from);
            v4.or(v6).map(|address| address.to_string())
        }
        _ => None,
    }
}
