//! Certificates in the shape of Intel's: root, Platform CA, PCK, TCB signing, and their CRLs.
//!
//! ```text
//! Intel SGX Root CA ── Intel SGX PCK Platform CA ── Intel SGX PCK Certificate (of the platform)
//!        └──────────── Intel SGX TCB Signing (of TCB info and QE identity)
//! ```
//!
//! Common names are Intel's, because verifiers look at them; the organisation says what they are.
//!
//! I/O: none.

use time::Duration;

use super::case::{Case, Validity};
use super::certificate::{Authority, Description, pem};
use super::fault::faults;
use super::key::Key;
use super::sgx_extension;

faults! {
    /// What is wrong with certificates and revocation lists.
    Pki(PkiFault) {
        /// All chains end in a root of the right name and another key.
        OtherRoot,
        /// Only the TCB signer's chain ends in such a root.
        TcbSignerOfOtherRoot,
        /// Only the PCK's chain ends in such a root.
        PckOfOtherRoot,
        /// The Platform CA's CRL names the PCK.
        PckRevoked,
        /// The root's CRL names the Platform CA.
        PlatformCaRevoked,
        /// The root's CRL names the TCB signer.
        TcbSignerRevoked,
        /// The PCK's validity is over.
        PckExpired,
        /// The PCK's validity has not begun.
        PckNotYetValid,
        /// The Platform CA's validity is over.
        PlatformCaExpired,
        /// The TCB signer's validity is over.
        TcbSignerExpired,
        /// The root's CRL should have been replaced.
        RootCrlExpired,
        /// The Platform CA's CRL should have been replaced.
        PckCrlExpired,
        /// The root's CRL is signed by another key.
        RootCrlOfOtherKey,
        /// The Platform CA's CRL is signed by another key.
        PckCrlOfOtherKey,
        /// The root's CRL stands in the place of the Platform CA's.
        PckCrlIsRootCrl,
        /// The Platform CA's CRL is empty bytes.
        PckCrlMissing,
        /// The root has issued the PCK directly.
        PckOfRoot,
        /// The Platform CA has issued the TCB signer.
        TcbSignerOfPlatformCa,
        /// The PCK certificate has no SGX extension.
        PckWithoutSgxExtension,
        /// The PCK is of another processor model than the TCB info.
        PckOfOtherFmspc,
        /// The PCK is of another PCE than the TCB info.
        PckOfOtherPceId,
    }
}

const ROOT: &str = "Intel SGX Root CA";
const PLATFORM_CA: &str = "Intel SGX PCK Platform CA";
const PCK: &str = "Intel SGX PCK Certificate";
const TCB_SIGNING: &str = "Intel SGX TCB Signing";

const ROOT_CRL_URL: &str = "https://pcs.testkit.invalid/IntelSGXRootCA.der";
const PCK_CRL_URL: &str =
    "https://pcs.testkit.invalid/sgx/certification/v4/pckcrl?ca=platform&encoding=der";

/// The certificates, and the keys that sign with them.
#[derive(Clone)]
pub(super) struct Pki {
    /// The root that relying parties trust, DER; what has been signed may be another's.
    pub(super) root: Vec<u8>,
    /// Leaf first, root last.
    pub(super) pck_chain: String,
    /// Platform CA and root.
    pub(super) pck_crl_issuer_chain: String,
    /// Leaf first, root last.
    pub(super) tcb_signing_chain: String,
    pub(super) root_crl: Vec<u8>,
    pub(super) pck_crl: Vec<u8>,
    /// Signs QE reports.
    pub(super) pck_key: Key,
    /// Signs TCB info and QE identity.
    pub(super) tcb_signing_key: Key,
}

impl Pki {
    pub(super) fn new(case: Case) -> Self {
        let key = |name| Key::derive(case.seed, name);
        let root_with = |key| Authority::root(root_description(case), key);
        let trusted = root_with(key("root"));
        let other = root_with(key("other root"));
        let (pck_root, tcb_root) = match case {
            _ if case.is(PkiFault::OtherRoot) => (&other, &other),
            _ if case.is(PkiFault::PckOfOtherRoot) => (&other, &trusted),
            _ if case.is(PkiFault::TcbSignerOfOtherRoot) => (&trusted, &other),
            _ => (&trusted, &trusted),
        };
        let platform_ca = pck_root.subordinate(platform_ca_description(case), key("platform CA"));
        let impostor = pck_root.subordinate(platform_ca_description(case), key("other CA"));
        let (pck_key, tcb_signing_key) = (key("PCK"), key("TCB signing"));
        let pck = case
            .either(PkiFault::PckOfRoot, pck_root, &platform_ca)
            .certify(pck_description(case), &pck_key);
        let tcb_signing = case
            .either(PkiFault::TcbSignerOfPlatformCa, &platform_ca, tcb_root)
            .certify(tcb_signing_description(case), &tcb_signing_key);

        // Where only one chain is an impostor's, the list is the one that belongs to the trusted root.
        let is_impostor = case.is(PkiFault::OtherRoot) || case.is(PkiFault::RootCrlOfOtherKey);
        let root_crl = if is_impostor { &other } else { &trusted }
            .revoke(&revoked_by_root(case), root_crl_validity(case));
        let pck_crl = match case {
            _ if case.is(PkiFault::PckCrlIsRootCrl) => root_crl.clone(),
            _ if case.is(PkiFault::PckCrlMissing) => Vec::new(),
            _ => case
                .either(PkiFault::PckCrlOfOtherKey, &impostor, &platform_ca)
                .revoke(&revoked_by_platform_ca(case), pck_crl_validity(case)),
        };

        let issuers = [&platform_ca.certificate, &pck_root.certificate];
        let tcb_issuers = case.either(
            PkiFault::TcbSignerOfPlatformCa,
            pem(issuers),
            pem([&tcb_root.certificate]),
        );
        Self {
            pck_chain: pem([&pck]) + &pck_issuers(case, issuers),
            pck_crl_issuer_chain: pem(issuers),
            tcb_signing_chain: pem([&tcb_signing]) + &tcb_issuers,
            root: trusted.certificate,
            root_crl,
            pck_crl,
            pck_key,
            tcb_signing_key,
        }
    }
}

fn root_description(case: Case) -> Description {
    let validity = case.around(Duration::days(3000), Duration::days(9000));
    Description::authority(ROOT, validity, 1).with_revocations(ROOT_CRL_URL)
}

fn platform_ca_description(case: Case) -> Description {
    let validity = case.around(Duration::days(3000), Duration::days(3000));
    let validity = case.either(PkiFault::PlatformCaExpired, case.past(), validity);
    Description::authority(PLATFORM_CA, validity, 0).with_revocations(ROOT_CRL_URL)
}

fn pck_description(case: Case) -> Description {
    let validity = match case {
        _ if case.is(PkiFault::PckExpired) => case.past(),
        _ if case.is(PkiFault::PckNotYetValid) => case.future(),
        _ => leaf_validity(case),
    };
    let mut description = Description::new(PCK, validity).with_revocations(PCK_CRL_URL);
    if !case.is(PkiFault::PckWithoutSgxExtension) {
        description.extensions.push(sgx_extension::of(case));
    }
    description
}

fn tcb_signing_description(case: Case) -> Description {
    let validity = case.either(PkiFault::TcbSignerExpired, case.past(), leaf_validity(case));
    Description::new(TCB_SIGNING, validity).with_revocations(ROOT_CRL_URL)
}

fn leaf_validity(case: Case) -> Validity {
    case.around(Duration::days(200), Duration::days(2000))
}

fn root_crl_validity(case: Case) -> Validity {
    let validity = case.around(Duration::days(30), Duration::days(300));
    case.either(PkiFault::RootCrlExpired, case.past(), validity)
}

fn pck_crl_validity(case: Case) -> Validity {
    let validity = case.around(Duration::hours(1), Duration::days(30));
    case.either(PkiFault::PckCrlExpired, case.past(), validity)
}

fn revoked_by_root(case: Case) -> Vec<&'static str> {
    match case {
        _ if case.is(PkiFault::PlatformCaRevoked) => vec![PLATFORM_CA],
        _ if case.is(PkiFault::TcbSignerRevoked) => vec![TCB_SIGNING],
        _ => Vec::new(),
    }
}

fn revoked_by_platform_ca(case: Case) -> Vec<&'static str> {
    // A list that names somebody else is what most verifiers see.
    case.either(
        PkiFault::PckRevoked,
        vec!["somebody else", PCK],
        vec!["somebody else"],
    )
}

fn pck_issuers(case: Case, [platform_ca, root]: [&Vec<u8>; 2]) -> String {
    match case {
        _ if case.is(PkiFault::PckOfRoot) => pem([root]),
        _ => pem([platform_ca, root]),
    }
}
