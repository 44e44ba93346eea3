//! The certificates that nodes register.
//!
//! Peers trust a registered certificate because the hub lists it, and some put those of all builders
//! into one set of roots; so a builder must not register one that is good for another's name. Of a
//! certificate (the first, if it is a chain) this checks that it is one, that it is valid now, that
//! it has subject alternative names, that each of them is the builder's (its name, also with `-` for
//! `_`; its DNS name; its address) or the loopback's, and that one is the builder's. A challenge
//! signed with the certificate's key proves that whoever registers it has that key.
//!
//! Left out: who issued it; it may be self-signed.
//!
//! I/O: none.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Largest text that is parsed, and longest chain.
const MAX_SIZE: usize = 64 << 10;
const MAX_CHAIN: usize = 8;

/// Begins what a node signs, so that the signature means nothing elsewhere.
const PROOF_CONTEXT: &[u8] = b"builderhub registration v1\n";

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Why a certificate is not registered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CertificateError {
    /// Too long, not PEM, or not certificates.
    #[error("tls_cert: expected 1 to 8 PEM certificates in at most 64 KiB")]
    Malformed,
    /// Not yet, or no longer.
    #[error("tls_cert: valid from {from} to {to}, and it is {now}")]
    NotValid {
        /// Not before.
        from: String,
        /// Not after.
        to: String,
        /// The hub's clock.
        now: String,
    },
    /// It could be used in another's place.
    #[error("tls_cert: the subject alternative name {name:?} is not of builder {builder:?}")]
    ForeignName {
        /// Whose certificate it should be.
        builder: String,
        /// What it says.
        name: String,
    },
    /// Nobody could verify it.
    #[error("tls_cert: no subject alternative name is of builder {0:?}")]
    NoName(String),
    /// Signed by another key, or something else was signed.
    #[error("proof: the signature is not by the certificate's key over the challenge")]
    NotProven,
    /// A kind of key with which this program can't verify.
    #[error("proof: expected a key of P-256, P-384, Ed25519 or RSA")]
    KeyKind,
}

/// Whom a certificate has to name.
pub(crate) struct Names<'a> {
    /// The builder's name.
    pub(crate) name: &'a str,
    /// Its DNS name, if it has one.
    pub(crate) dns_name: &'a str,
    /// Its address.
    pub(crate) address: IpAddr,
}

/// A certificate that was parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    leaf: Certificate,
    fingerprint: [u8; 32],
}

impl Parsed {
    /// Parses one certificate or a chain, the leaf first.
    pub(crate) fn parse(pem: &str) -> Result<Self, CertificateError> {
        if pem.len() > MAX_SIZE {
            return Err(CertificateError::Malformed);
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|_| CertificateError::Malformed)?;
        if chain.len() > MAX_CHAIN {
            return Err(CertificateError::Malformed);
        }
        let parsed = chain.iter().map(|der| Certificate::from_der(der));
        let parsed: Result<Vec<_>, _> = parsed.collect();
        let mut parsed = parsed.map_err(|_| CertificateError::Malformed)?.into_iter();
        let (Some(leaf), Some(der)) = (parsed.next(), chain.first()) else {
            return Err(CertificateError::Malformed);
        };
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
        Ok(Self { leaf, fingerprint })
    }

    /// When it ends, in microseconds since 1970.
    pub(crate) fn not_after(&self) -> i64 {
        microseconds(self.leaf.tbs_certificate().validity().not_after)
    }

    /// Checks that it is valid at `now` and names the builder and nobody else.
    pub(crate) fn check(&self, names: &Names<'_>, now: i64) -> Result<(), CertificateError> {
        let validity = self.leaf.tbs_certificate().validity();
        let (from, to) = (
            microseconds(validity.not_before),
            microseconds(validity.not_after),
        );
        if now < from || now > to {
            let [from, to, now] = [from, to, now].map(crate::text::time);
            return Err(CertificateError::NotValid { from, to, now });
        }
        let mut is_named = false;
        for name in self.alternative_names()? {
            match names.role(&name) {
                Role::Builder => is_named = true,
                Role::Loopback => {}
                Role::Foreign(name) => {
                    let builder = names.name.to_owned();
                    return Err(CertificateError::ForeignName { builder, name });
                }
            }
        }
        if is_named {
            Ok(())
        } else {
            Err(CertificateError::NoName(names.name.to_owned()))
        }
    }

    fn alternative_names(&self) -> Result<Vec<GeneralName>, CertificateError> {
        let extension = self
            .leaf
            .tbs_certificate()
            .get_extension::<SubjectAltName>();
        let extension = extension.map_err(|_| CertificateError::Malformed)?;
        Ok(extension.map(|(_, names)| names.0).unwrap_or_default())
    }

    /// What a node signs to prove that it has the certificate's key.
    pub(crate) fn message(&self, challenge: &str, service: &str) -> Vec<u8> {
        let [end, fingerprint] = [b"\n", self.fingerprint.as_slice()];
        [
            PROOF_CONTEXT,
            challenge.as_bytes(),
            end,
            service.as_bytes(),
            end,
            fingerprint,
        ]
        .concat()
    }

    /// Checks a signature over [`Parsed::message`].
    pub(crate) fn prove(&self, message: &[u8], proof: &[u8]) -> Result<(), CertificateError> {
        let key = self.leaf.tbs_certificate().subject_public_key_info();
        let algorithm: &dyn VerificationAlgorithm = match key.algorithm.oid {
            ED25519 => &signature::ED25519,
            RSA => &signature::RSA_PKCS1_2048_8192_SHA256,
            EC_PUBLIC_KEY => {
                let curve = key.algorithm.parameters.as_ref();
                let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
                match curve {
                    Some(P256) => &signature::ECDSA_P256_SHA256_ASN1,
                    Some(P384) => &signature::ECDSA_P384_SHA384_ASN1,
                    _ => return Err(CertificateError::KeyKind),
                }
            }
            _ => return Err(CertificateError::KeyKind),
        };
        let key = UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes());
        key.verify(message, proof)
            .map_err(|_| CertificateError::NotProven)
    }
}

enum Role {
    Builder,
    Loopback,
    Foreign(String),
}

impl Names<'_> {
    fn role(&self, name: &GeneralName) -> Role {
        match name {
            GeneralName::DnsName(name) => {
                let name = name.as_str();
                let own = [self.name, &self.name.replace('_', "-"), self.dns_name];
                if own
                    .iter()
                    .any(|own| !own.is_empty() && own.eq_ignore_ascii_case(name))
                {
                    Role::Builder
                } else if name.eq_ignore_ascii_case("localhost") {
                    Role::Loopback
                } else {
                    Role::Foreign(name.to_owned())
                }
            }
            GeneralName::IpAddress(bytes) => match address(bytes.as_bytes()) {
                Some(address) if address == self.address => Role::Builder,
                Some(address) if address.is_loopback() => Role::Loopback,
                Some(address) => Role::Foreign(address.to_string()),
                None => Role::Foreign("an address of a strange length".to_owned()),
            },
            _ => Role::Foreign("neither a DNS name nor an address".to_owned()),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn microseconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
