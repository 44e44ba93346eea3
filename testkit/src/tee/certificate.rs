//! X.509 certificates and revocation lists from a short description.
//!
//! I/O: none.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber, SigningKey,
};

use super::case::Validity;
use super::hash::sha256;

/// What a certificate says. Serial numbers follow from the name.
pub(super) struct Description {
    /// Subject's common name.
    pub(super) name: &'static str,
    pub(super) validity: Validity,
    /// For a CA: how many CAs may follow.
    pub(super) path_length: Option<u8>,
    /// Where revocations of it would be found, were there such a host.
    pub(super) revocations: Option<&'static str>,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(super) extensions: Vec<CustomExtension>,
}

impl Description {
    /// A certificate with nothing but the name and the time.
    pub(super) fn new(name: &'static str, validity: Validity) -> Self {
        Self {
            name,
            validity,
            path_length: None,
            revocations: None,
            usages: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// The same for a CA.
    pub(super) fn authority(name: &'static str, validity: Validity, path_length: u8) -> Self {
        Self {
            path_length: Some(path_length),
            ..Self::new(name, validity)
        }
    }

    /// The same with a CRL distribution point.
    pub(super) fn with_revocations(mut self, url: &'static str) -> Self {
        self.revocations = Some(url);
        self
    }

    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::CommonName, self.name),
            // A reader of a log must not take it for the real one.
            (DnType::OrganizationName, "testkit, trusted by nobody"),
            (DnType::CountryName, "US"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        params.serial_number = Some(serial(self.name));
        params.not_before = self.validity.from;
        params.not_after = self.validity.until;
        (params.is_ca, params.key_usages) = match self.path_length {
            Some(length) => (
                IsCa::Ca(BasicConstraints::Constrained(length)),
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            ),
            None => (IsCa::ExplicitNoCa, vec![KeyUsagePurpose::DigitalSignature]),
        };
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = self.usages;
        params.custom_extensions = self.extensions;
        params.crl_distribution_points = self
            .revocations
            .into_iter()
            .map(|url| CrlDistributionPoint {
                uris: vec![url.to_owned()],
            })
            .collect();
        params
    }
}

/// The serial number of the certificate with this name: 16 bytes, positive.
pub(super) fn serial(name: &str) -> SerialNumber {
    let mut bytes = sha256(name.as_bytes())[..16].to_vec();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes)
}

/// A CA: its key, and its certificate in DER.
pub(super) struct Authority<K> {
    params: CertificateParams,
    key: K,
    pub(super) certificate: Vec<u8>,
}

impl<K: SigningKey> Authority<K> {
    /// A CA that has signed its own certificate.
    pub(super) fn root(description: Description, key: K) -> Self {
        let params = description.params();
        let certificate = params.self_signed(&key).expect("sign a root certificate");
        Self {
            certificate: certificate.der().to_vec(),
            params,
            key,
        }
    }

    /// A CA below this one.
    pub(super) fn subordinate<L: SigningKey>(
        &self,
        description: Description,
        key: L,
    ) -> Authority<L> {
        let params = description.params();
        let certificate = params
            .signed_by(&key, &self.issuer())
            .expect("sign a CA certificate");
        Authority {
            certificate: certificate.der().to_vec(),
            params,
            key,
        }
    }

    /// A certificate of somebody's key, in DER.
    pub(super) fn certify(&self, description: Description, key: &impl PublicKeyData) -> Vec<u8> {
        description
            .params()
            .signed_by(key, &self.issuer())
            .expect("sign a certificate")
            .der()
            .to_vec()
    }

    /// A list of revoked certificates, given by name, in DER.
    pub(super) fn revoke(&self, names: &[&str], validity: Validity) -> Vec<u8> {
        CertificateRevocationListParams {
            this_update: validity.from,
            next_update: validity.until,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names
                .iter()
                .map(|name| RevokedCertParams {
                    serial_number: serial(name),
                    revocation_time: validity.from,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer())
        .expect("sign a revocation list")
        .der()
        .to_vec()
    }

    fn issuer(&self) -> Issuer<'_, &K> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// Certificates as PEM, one after the other.
pub(super) fn pem<C: AsRef<[u8]>>(certificates: impl IntoIterator<Item = C>) -> String {
    certificates
        .into_iter()
        .map(|certificate| text("CERTIFICATE", certificate.as_ref()))
        .collect()
}

/// One block of PEM (RFC 7468).
pub(super) fn text(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
