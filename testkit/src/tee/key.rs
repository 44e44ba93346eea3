//! Signing keys that follow from a seed, so that two runs make the same bytes.
//!
//! I/O: none.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};

use super::hash::sha256;

/// A P-256 key, known to everybody who knows the seed. Its signatures are those of RFC 6979, so
/// they are the same each time.
#[derive(Clone)]
pub(crate) struct Key {
    secret: SigningKey,
    /// Uncompressed point, SEC 1: 4, x, y.
    public: Vec<u8>,
}

impl Key {
    /// The key of this name among those of a seed.
    pub(crate) fn derive(seed: u64, name: &str) -> Self {
        let text = [b"testkit key", &seed.to_be_bytes()[..], name.as_bytes()].concat();
        // A scalar is out of range once in 2^32 times; then its hash is the next candidate.
        let mut candidate = sha256(&text);
        let secret = loop {
            match SigningKey::from_slice(&candidate) {
                Ok(secret) => break secret,
                Err(_) => candidate = sha256(&candidate),
            }
        };
        let public = secret.verifying_key().to_encoded_point(false);
        Self {
            public: public.as_bytes().to_vec(),
            secret,
        }
    }

    /// ECDSA with SHA-256 in the form of quotes and of Intel's JSON: r and s, 32 bytes each.
    pub(super) fn sign_raw(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.secret.sign(message);
        signature.to_bytes().to_vec()
    }

    /// The public point in the form of quotes: x and y, 32 bytes each.
    pub(super) fn public_raw(&self) -> &[u8] {
        &self.public[1..]
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.secret.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_and_name_alone_make_the_key() {
        let key = Key::derive(1, "root");
        assert_eq!(key.public, Key::derive(1, "root").public);
        assert_ne!(key.public, Key::derive(2, "root").public);
        assert_ne!(key.public, Key::derive(1, "leaf").public);
        assert_eq!(key.sign_raw(b"message"), key.sign_raw(b"message"));
    }
}
