//! Attestation keys: RSA, with a fixed choice of test keys.
//!
//! Making RSA keys takes seconds in a debug build, so these were made once
//! (`openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`, PKCS #8) and are public. They do
//! not depend on the seed. A simulated machine whose TPM makes its own key gives its modulus.
//!
//! I/O: none.

use rcgen::{PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};

use super::bytes::Writer;
use super::certificate;
use super::der::{integer, sequence};

const AK: &[u8] = include_bytes!("keys/ak.pk8");
/// The key of [`Ak::other`], and of an AK root that nobody trusts.
pub(super) const OTHER_AK: &[u8] = include_bytes!("keys/other-ak.pk8");

/// PKCS #8 of the keys that certify AKs: root and intermediate.
pub(super) const ROOT: &[u8] = include_bytes!("keys/ak-root.pk8");
pub(super) const INTERMEDIATE: &[u8] = include_bytes!("keys/ak-intermediate.pk8");

/// 65537, the exponent of every key here.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// `TPMA_OBJECT` of Azure's AK: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA,
/// restricted, sign. TPM 2.0 Library, Part 2, 8.3.
pub(super) const ATTRIBUTES: u32 =
    1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | RESTRICTED | 1 << 18;

/// `restricted`: signs nothing that looks like the TPM's own statements but those.
pub(super) const RESTRICTED: u32 = 1 << 16;

/// An RSA key's public half; exponent 65537.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkPublic {
    modulus: Vec<u8>,
    /// `RSAPublicKey` of PKCS #1.
    der: Vec<u8>,
}

impl AkPublic {
    /// The key with this modulus, big endian, without leading zeros.
    pub fn new(modulus: &[u8]) -> Self {
        Self {
            modulus: modulus.to_vec(),
            der: sequence(&[integer(modulus), integer(&EXPONENT)]),
        }
    }

    /// Big endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// `TPMT_PUBLIC` of a restricted signing key; TPM 2.0 Library, Part 2, 12.2.4.
    pub fn tpmt_public(&self) -> Vec<u8> {
        self.tpmt_public_with(ATTRIBUTES)
    }

    /// The same with other attributes.
    pub(super) fn tpmt_public_with(&self, attributes: u32) -> Vec<u8> {
        let mut public = Writer::big_endian();
        // TPM_ALG_RSA, name by TPM_ALG_SHA256, attributes, no policy.
        public.u16(0x0001);
        public.u16(0x000b);
        public.u32(attributes);
        public.sized(&[]);
        // No symmetric algorithm (TPM_ALG_NULL), TPM_ALG_RSASSA with TPM_ALG_SHA256.
        public.u16(0x0010);
        public.u16(0x0014);
        public.u16(0x000b);
        public.u16(u16::try_from(self.modulus.len() * 8).expect("an RSA key's size"));
        // The default exponent is written as zero.
        public.u32(0);
        public.sized(&self.modulus);
        public.finish()
    }

    /// `SubjectPublicKeyInfo` in PEM, as `openssl` and `tpm2_checkquote` read it.
    pub fn to_pem(&self) -> String {
        certificate::text("PUBLIC KEY", &self.subject_public_key_info())
    }
}

impl PublicKeyData for AkPublic {
    fn der_bytes(&self) -> &[u8] {
        &self.der
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// How an AK can sign.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scheme {
    /// PKCS #1 1.5: what TPMs call RSASSA.
    Rsassa,
    /// PSS, which is not deterministic.
    Rsapss,
}

/// A test key in the place of a TPM's AK.
pub(super) struct Ak(KeyPair);

impl Ak {
    /// The AK of the machine.
    pub(super) fn own() -> Self {
        Self::from(AK)
    }

    /// An AK of somebody else.
    pub(super) fn other() -> Self {
        Self::from(OTHER_AK)
    }

    fn from(pkcs8: &[u8]) -> Self {
        Self(KeyPair::from_pkcs8(pkcs8).expect("a key made with openssl"))
    }

    pub(super) fn public(&self) -> AkPublic {
        AkPublic::new(&PublicKeyComponents::<Vec<u8>>::from(self.0.public()).n)
    }

    /// The signature alone, 256 bytes.
    pub(super) fn sign(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
        let padding: &dyn RsaEncoding = match scheme {
            Scheme::Rsassa => &RSA_PKCS1_SHA256,
            Scheme::Rsapss => &RSA_PSS_SHA256,
        };
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(padding, &SystemRandom::new(), message, &mut signature)
            .expect("sign with RSA");
        signature
    }
}
