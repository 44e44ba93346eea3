//! Who certifies an AK: in the shape of Azure's "Global Virtual TPM CA".
//!
//! I/O: none.

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PKCS_RSA_SHA256};
use time::Duration;

use super::ak::{self, Ak, AkPublic};
use super::case::Case;
use super::certificate::{Authority, Description};
use super::fault::faults;

faults! {
    /// What is wrong with the AK's certificates.
    AkCertificate(AkCertificateFault) {
        /// The chain ends in a root of the right name and another key.
        OtherRoot,
        /// The AK's certificate is no longer valid.
        Expired,
        /// The intermediate CA's certificate is no longer valid.
        IntermediateExpired,
        /// The intermediate CA's certificate is not there.
        IntermediateMissing,
        /// The intermediate certificate is not that of a CA.
        IntermediateIsNoCa,
        /// Another key is certified.
        OtherKey,
        /// One byte of the AK's certificate is another.
        Altered,
        /// The AK's certificate is no certificate.
        Malformed,
        /// There is no certificate at all.
        Missing,
    }
}

const ROOT: &str = "Azure Virtual TPM Root CA";
const INTERMEDIATE: &str = "Global Virtual TPM CA";
const LEAF: &str = "0.ConfidentialVM.Azure.windows.net";

/// "TCG attestation identity key certificate", TCG Credential Profile EK 2.5.
const AIK_CERTIFICATE: [u64; 5] = [2, 23, 133, 8, 3];

/// An AK's certificates in DER.
#[derive(Clone, Debug)]
pub struct AkCertificates {
    /// The root that relying parties trust.
    pub root: Vec<u8>,
    /// Of the AK; empty if there is none.
    pub leaf: Vec<u8>,
    /// Between the two.
    pub intermediates: Vec<Vec<u8>>,
}

impl AkCertificates {
    pub(super) fn new(case: Case, ak: &AkPublic) -> Self {
        let validity = case.around(Duration::days(300), Duration::days(3000));
        let root = || Description::authority(ROOT, validity, 1);
        let trusted = Authority::root(root(), rsa(ak::ROOT));
        let intermediate = Description {
            path_length: (!case.is(AkCertificateFault::IntermediateIsNoCa)).then_some(0),
            validity: case.either(
                AkCertificateFault::IntermediateExpired,
                case.past(),
                validity,
            ),
            ..Description::authority(INTERMEDIATE, validity, 0)
        };
        let intermediate = match case.is(AkCertificateFault::OtherRoot) {
            true => Authority::root(root(), rsa(ak::OTHER_AK))
                .subordinate(intermediate, rsa(ak::INTERMEDIATE)),
            false => trusted.subordinate(intermediate, rsa(ak::INTERMEDIATE)),
        };
        let mut leaf = intermediate.certify(
            Description {
                usages: vec![ExtendedKeyUsagePurpose::Other(AIK_CERTIFICATE.to_vec())],
                ..Description::new(
                    LEAF,
                    case.either(AkCertificateFault::Expired, case.past(), validity),
                )
            },
            &case.either(
                AkCertificateFault::OtherKey,
                Ak::other().public(),
                ak.clone(),
            ),
        );
        match case {
            _ if case.is(AkCertificateFault::Altered) => {
                if let Some(last) = leaf.last_mut() {
                    *last ^= 1;
                }
            }
            _ if case.is(AkCertificateFault::Malformed) => leaf = b"no certificate".to_vec(),
            _ if case.is(AkCertificateFault::Missing) => leaf.clear(),
            _ => {}
        }
        let has_intermediate = !case.is(AkCertificateFault::IntermediateMissing)
            && !case.is(AkCertificateFault::Missing);
        Self {
            root: trusted.certificate,
            leaf,
            intermediates: has_intermediate
                .then_some(intermediate.certificate)
                .into_iter()
                .collect(),
        }
    }

    /// What NV index 0x01C101D0 holds on Azure: the AK's certificate, padded to 4,096 bytes.
    pub fn nv_content(&self) -> Vec<u8> {
        let mut content = self.leaf.clone();
        content.resize(content.len().max(4096), 0);
        content
    }
}

fn rsa(pkcs8: &[u8]) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &PKCS_RSA_SHA256)
        .expect("a key made with openssl")
}
