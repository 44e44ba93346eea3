//! The node's identity: a P-256 key and a self-signed certificate.
//!
//! I/O: draws from the kernel's random number generator.

use std::net::IpAddr;

use anyhow::Context;
use hyper::body::Bytes;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use zeroize::Zeroize;

/// 2000-01-01T00:00:00Z, seconds since 1970.
///
/// Not the time of start: the clock is set after this process starts, and a certificate from a
/// future that never comes would be refused by everybody.
const NOT_BEFORE: i64 = 946_684_800;

/// 9999-12-31T23:59:59Z, which RFC 5280 section 4.1.2.5 gives to certificates without an end.
///
/// The certificate ends with the process, whose memory is the only place of the key. What makes a
/// client trust it is evidence that is fresh for that client, not a date the node chose.
const NOT_AFTER: i64 = 253_402_300_799;

/// A key that never leaves this process, and the certificate that names it.
///
/// Has no `Debug`, so that it cannot be logged.
pub(super) struct Identity {
    tls: attestation::tls::Identity,
    pem: Bytes,
    fingerprint: String,
}

impl Identity {
    /// Makes a new key and certifies `localhost`, `127.0.0.1`, `::1` and `names` with it.
    ///
    /// The certificate is its own trust anchor (`curl --cacert`), for which it must not be a CA:
    /// webpki refuses a CA as a server's certificate.
    pub(super) fn generate(names: &[ServerName<'static>]) -> anyhow::Result<Self> {
        let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("make a P-256 key")?;
        let certificate = certificate_params(names)?
            .self_signed(&key)
            .context("sign the certificate")?;

        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Our copy; ring keeps the scalar it signs with and wipes nothing.
        key.zeroize();

        let der = certificate.der().clone();
        Ok(Self {
            fingerprint: fingerprint(&der),
            pem: Bytes::from(certificate.pem()),
            tls: attestation::tls::Identity {
                chain: vec![der],
                key: pkcs8,
            },
        })
    }

    /// What a TLS server needs to be this identity.
    pub(super) fn into_tls(self) -> attestation::tls::Identity {
        self.tls
    }

    /// The certificate, PEM.
    pub(super) fn pem(&self) -> Bytes {
        self.pem.clone()
    }

    /// SHA-256 of the certificate's DER, lower-case hex.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn certificate_params(names: &[ServerName<'static>]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = subject_alt_names(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "cvm-attest");
    params.not_before = OffsetDateTime::from_unix_timestamp(NOT_BEFORE)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(NOT_AFTER)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn subject_alt_names(names: &[ServerName<'static>]) -> anyhow::Result<Vec<SanType>> {
    let mut alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(IpAddr::from([127, 0, 0, 1])),
        SanType::IpAddress(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
    ];
    for name in names {
        let alt_name = match name {
            ServerName::DnsName(name) => SanType::DnsName(name.as_ref().try_into()?),
            ServerName::IpAddress(address) => SanType::IpAddress((*address).into()),
            other => anyhow::bail!("cannot certify {other:?}"),
        };
        if !alt_names.contains(&alt_name) {
            alt_names.push(alt_name);
        }
    }
    Ok(alt_names)
}

fn fingerprint(der: &CertificateDer<'_>) -> String {
    digest(&SHA256, der)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_is_another() {
        let one = Identity::generate(&[]).unwrap();
        let two = Identity::generate(&[]).unwrap();
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint().len(), 64);
    }

    #[test]
    fn the_pem_is_the_certificate_and_no_key() {
        let identity = Identity::generate(&[]).unwrap();
        let pem = String::from_utf8(identity.pem().to_vec()).unwrap();
        assert_eq!(pem.matches("-----BEGIN").count(), 1);
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!pem.contains("KEY"));
    }

    #[test]
    fn names_are_certified_once_each() {
        let names = ["node.example", "localhost", "192.0.2.7", "::1"]
            .map(|name| ServerName::try_from(name).unwrap());
        let alt_names = subject_alt_names(&names).unwrap();
        assert_eq!(alt_names.len(), 5, "{alt_names:?}");
    }
}
