//! Authorities of tests, and what they certify.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub(crate) use rcgen::ExtendedKeyUsagePurpose as Use;

pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// Writes a fresh certificate for one use, or for any, and its key, as PEM.
    pub(crate) fn certify(
        &self,
        name: &str,
        usage: impl Into<Option<Use>>,
        certificate: &Path,
        key: &Path,
    ) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.extend(usage.into());
        let pair = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let signed = params.signed_by(&pair, &issuer).unwrap();
        std::fs::write(certificate, signed.pem()).unwrap();
        std::fs::write(key, pair.serialize_pem()).unwrap();
    }
}
