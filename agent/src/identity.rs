//! The node's identity: a P-256 key and a self-signed certificate.
//!
//! I/O: draws from the kernel's random number generator; reads the file that a caller names.

mod certified;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Bytes;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use self::certified::{Certified, name_of};

/// 2000-01-01T00:00:00Z, seconds since 1970.
///
/// Not the time of start: the clock is set after this process starts, and a certificate from a
/// future that never comes would be refused by everybody.
const NOT_BEFORE: i64 = 946_684_800;

/// 9999-12-31T23:59:59Z, which RFC 5280 section 4.1.2.5 gives to certificates without an end.
///
/// A certificate whose key is in memory only ends with that memory. What makes a client trust it is
/// evidence that is fresh for that client, not a date the node chose.
const NOT_AFTER: i64 = 253_402_300_799;

/// Largest file of a key and its certificates, in bytes.
const LARGEST_BUNDLE: u64 = 64 << 10;

/// A private key, and the certificate that names it.
///
/// Has no `Debug`, so that it cannot be logged.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: Bytes,
    fingerprint: String,
}

impl Identity {
    /// Makes a new key and certifies `localhost`, `127.0.0.1`, `::1` and `names` with it, until
    /// `end` if there is one.
    ///
    /// The certificate is its own trust anchor (`curl --cacert`), for which it must not be a CA:
    /// webpki refuses a CA as a server's certificate.
    pub(crate) fn generate(
        names: &[ServerName<'static>],
        end: Option<SystemTime>,
    ) -> anyhow::Result<Self> {
        let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("make a P-256 key")?;
        let certificate = certificate_params(names, end)?
            .self_signed(&key)
            .context("sign the certificate")?;

        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Our copy; ring keeps the scalar it signs with and wipes nothing.
        key.zeroize();

        let der = certificate.der().clone();
        Ok(Self {
            fingerprint: fingerprint(&der),
            pem: Bytes::from(certificate.pem()),
            chain: vec![der],
            key: pkcs8,
        })
    }

    /// Reads what [`Self::bundle`] has made and another process left in a file.
    ///
    /// # Errors
    ///
    /// Names the file: it cannot be read, is larger than any, or lacks key or certificate. Whether
    /// they belong together is found out by who uses them for TLS.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("read {}", path.display());
        let mut bundle = Zeroizing::new(Vec::new());
        let file = fs::File::open(path).with_context(reading)?;
        let length = file.take(LARGEST_BUNDLE + 1).read_to_end(&mut bundle);
        if length.with_context(reading)? as u64 > LARGEST_BUNDLE {
            bail!("{} is larger than {LARGEST_BUNDLE} bytes", path.display());
        }
        Self::parse(&bundle).with_context(reading)
    }

    fn parse(bundle: &[u8]) -> anyhow::Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(bundle).context("find the private key")?;
        let certificates = CertificateDer::pem_slice_iter(bundle);
        let chain: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .context("read the certificates")?;
        let leaf = chain.first().context("there is no certificate")?;
        let pem = chain.iter().map(|it| pem("CERTIFICATE", it));
        Ok(Self {
            fingerprint: fingerprint(leaf),
            pem: Bytes::from(pem.map(|it| it.to_string()).collect::<String>()),
            chain,
            key,
        })
    }

    /// Whether the certificate names `localhost`, `127.0.0.1`, `::1` and `names`, and nobody else.
    ///
    /// # Errors
    ///
    /// What was read is not what [`Self::generate`] makes, or its key is another's.
    pub(crate) fn is_for(&self, names: &[ServerName<'static>]) -> anyhow::Result<bool> {
        let wanted = subject_alt_names(names)?;
        let wanted: BTreeSet<_> = wanted.iter().map(name_of).collect::<Result<_, _>>()?;
        let certified = self.certified()?;
        ensure!(
            self.signer()?.public_key().as_ref() == certified.key,
            "the key is not the certificate's"
        );
        Ok(certified.names == wanted)
    }

    /// The last moment at which the certificate is valid.
    pub(crate) fn not_after(&self) -> anyhow::Result<SystemTime> {
        Ok(self.certified()?.not_after)
    }

    fn certified(&self) -> anyhow::Result<Certified> {
        let certificate = self.der().context("there is no certificate")?;
        Certified::read(certificate).context("read the certificate")
    }

    /// Certificate and key in one PEM text, as HAProxy reads it. A secret.
    pub(crate) fn bundle(&self) -> Zeroizing<Vec<u8>> {
        let key = pem("PRIVATE KEY", self.key.secret_der());
        let mut bundle = Zeroizing::new(Vec::with_capacity(self.pem.len() + key.len()));
        bundle.extend_from_slice(&self.pem);
        bundle.extend_from_slice(key.as_bytes());
        bundle
    }

    /// What a TLS server needs to be this identity.
    pub(crate) fn into_tls(self) -> attestation::tls::Identity {
        attestation::tls::Identity {
            chain: self.chain,
            key: self.key,
        }
    }

    /// Signs with the key: P-256, SHA-256, ASN.1.
    pub(crate) fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let signature = self.signer()?.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| anyhow!("the key does not sign"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn signer(&self) -> anyhow::Result<EcdsaKeyPair> {
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            self.key.secret_der(),
            &SystemRandom::new(),
        );
        key.map_err(|_| anyhow!("the key is none of P-256"))
    }

    /// The first certificate, DER.
    pub(crate) fn der(&self) -> Option<&[u8]> {
        self.chain.first().map(AsRef::as_ref)
    }

    /// The certificates, PEM.
    pub(crate) fn pem(&self) -> Bytes {
        self.pem.clone()
    }

    /// SHA-256 of the certificate's DER, lower-case hex.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// PEM, RFC 7468: base64 in lines of 64.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len() * 2 + 64));
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    for line in encoded.as_bytes().chunks(64) {
        // Base64 is ASCII.
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

fn certificate_params(
    names: &[ServerName<'static>],
    end: Option<SystemTime>,
) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = subject_alt_names(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "cvm-attest");
    params.not_before = OffsetDateTime::from_unix_timestamp(NOT_BEFORE)?;
    let seconds = match end {
        Some(end) => i64::try_from(end.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?,
        None => NOT_AFTER,
    };
    params.not_after = OffsetDateTime::from_unix_timestamp(seconds)?;
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
        let one = Identity::generate(&[], None).unwrap();
        let two = Identity::generate(&[], None).unwrap();
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint().len(), 64);
    }

    #[test]
    fn a_bundle_is_read_as_it_was_made() {
        let identity = Identity::generate(&[], None).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &*identity.bundle()).unwrap();
        let read = Identity::read(file.path()).unwrap();
        assert_eq!(read.fingerprint(), identity.fingerprint());
        assert_eq!(read.pem(), identity.pem());
        let key = |identity: Identity| identity.into_tls().key.secret_der().to_vec();
        assert_eq!(key(read), key(identity));
    }

    #[test]
    fn a_bundle_that_is_none_is_refused_and_named() {
        let identity = Identity::generate(&[], None).unwrap();
        let huge = vec![b'\n'; usize::try_from(LARGEST_BUNDLE).unwrap() + 1];
        for content in [&b""[..], b"nothing", &identity.pem(), &huge] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), content).unwrap();
            let error = format!("{:#}", Identity::read(file.path()).err().unwrap());
            assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        }
    }

    #[test]
    fn the_key_signs_for_the_certificate() {
        let identity = Identity::generate(&[], None).unwrap();
        let signature = identity.sign(b"message").unwrap();
        let certificate = webpki::EndEntityCert::try_from(&identity.chain[0]).unwrap();
        let verify = |message: &[u8]| {
            let algorithm = webpki::ring::ECDSA_P256_SHA256;
            certificate.verify_signature(algorithm, message, &signature)
        };
        assert!(verify(b"message").is_ok());
        assert!(verify(b"another").is_err());
    }

    #[test]
    fn the_pem_is_the_certificate_and_no_key() {
        let identity = Identity::generate(&[], None).unwrap();
        let pem = String::from_utf8(identity.pem().to_vec()).unwrap();
        assert_eq!(pem.matches("-----BEGIN").count(), 1);
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!pem.contains("KEY"));
    }

    #[test]
    fn a_certificate_is_for_its_names_and_no_others() {
        let names = ["node.example", "192.0.2.7", "2001:db8::7"];
        let names = names.map(|name| ServerName::try_from(name).unwrap());
        let identity = Identity::generate(&names, None).unwrap();
        assert!(identity.is_for(&names).unwrap());
        let [name, v4, v6] = names;
        assert!(
            identity
                .is_for(&[v6.clone(), v4.clone(), name.clone()])
                .unwrap()
        );
        assert!(!identity.is_for(&[name.clone(), v4.clone()]).unwrap());
        let other = ServerName::try_from("other.example").unwrap();
        assert!(!identity.is_for(&[name, v4, v6, other]).unwrap());
    }

    #[test]
    fn a_certificate_ends_when_it_was_told_to() {
        let end = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000);
        let identity = Identity::generate(&[], Some(end)).unwrap();
        assert_eq!(identity.not_after().unwrap(), end);
        let endless = Identity::generate(&[], None).unwrap().not_after().unwrap();
        let seconds = endless.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(i64::try_from(seconds.as_secs()).unwrap(), NOT_AFTER);
        // A clock that shows nonsense is an error, not a panic.
        let never = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 60);
        assert!(Identity::generate(&[], Some(never)).is_err());
    }

    #[test]
    fn a_certificate_beside_another_key_is_refused() {
        let [one, two] = [(); 2].map(|()| Identity::generate(&[], None).unwrap());
        let mixed = [one.pem().to_vec(), two.bundle().to_vec()].concat();
        let mixed = Identity::parse(&mixed).unwrap();
        let error = format!("{:#}", mixed.is_for(&[]).unwrap_err());
        assert_eq!(error, "the key is not the certificate's");
    }

    #[test]
    fn names_are_certified_once_each() {
        let names = ["node.example", "localhost", "192.0.2.7", "::1"]
            .map(|name| ServerName::try_from(name).unwrap());
        let alt_names = subject_alt_names(&names).unwrap();
        assert_eq!(alt_names.len(), 5, "{alt_names:?}");
    }
}
