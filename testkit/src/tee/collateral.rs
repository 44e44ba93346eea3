//! Intel's side: what a verifier fetches to judge a quote, in the two forms it is passed on.
//!
//! I/O: none.

use serde::Serialize;

use super::case::Case;
use super::key::Key;
use super::pki::Pki;
use super::platform::Platform;
use super::qe::{self, QeFault};
use super::tcb::{self, TcbFault};
use super::text::{hex, hex_upper};

/// TCB info, QE identity, revocation lists, and who signed them.
///
/// Serialised it is `QuoteCollateralV3` of dcap-qvl: binary members in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collateral {
    /// Platform CA and root, PEM.
    pub pck_crl_issuer_chain: String,
    /// DER.
    #[serde(serialize_with = "as_hex")]
    pub root_ca_crl: Vec<u8>,
    /// DER.
    #[serde(serialize_with = "as_hex")]
    pub pck_crl: Vec<u8>,
    /// TCB signer and root, PEM.
    pub tcb_info_issuer_chain: String,
    /// JSON, exactly as signed.
    pub tcb_info: String,
    /// r and s, 32 bytes each.
    #[serde(serialize_with = "as_hex")]
    pub tcb_info_signature: Vec<u8>,
    /// TCB signer and root, PEM.
    pub qe_identity_issuer_chain: String,
    /// JSON, exactly as signed.
    pub qe_identity: String,
    /// r and s, 32 bytes each.
    #[serde(serialize_with = "as_hex")]
    pub qe_identity_signature: Vec<u8>,
    #[serde(skip)]
    fmspc: [u8; 6],
}

/// What a certification service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The header that carries the signer's chain, percent-encoded, and its value.
    pub issuer_chain: Option<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Collateral {
    pub(super) fn new(case: Case, pki: &Pki) -> Self {
        let other = Key::derive(case.seed, "other TCB signing");
        let sign = |text: &str, is_other: bool| match is_other {
            true => other.sign_raw(text.as_bytes()),
            false => pki.tcb_signing_key.sign_raw(text.as_bytes()),
        };
        let (mut tcb_info, mut qe_identity) = (tcb::info(case), qe::identity(case));
        let tcb_info_signature = sign(&tcb_info, case.is(TcbFault::TcbInfoOfOtherKey));
        let qe_identity_signature = sign(&qe_identity, case.is(QeFault::IdentityOfOtherKey));
        if case.is(TcbFault::TcbInfoAltered) {
            tcb_info = tcb_info.replacen("\"pcesvn\":13", "\"pcesvn\":12", 1);
        }
        if case.is(QeFault::IdentityAltered) {
            qe_identity = qe_identity.replacen("\"isvsvn\":4", "\"isvsvn\":3", 1);
        }
        Self {
            pck_crl_issuer_chain: pki.pck_crl_issuer_chain.clone(),
            root_ca_crl: pki.root_crl.clone(),
            pck_crl: pki.pck_crl.clone(),
            tcb_info_issuer_chain: pki.tcb_signing_chain.clone(),
            tcb_info,
            tcb_info_signature,
            qe_identity_issuer_chain: pki.tcb_signing_chain.clone(),
            qe_identity,
            qe_identity_signature,
            fmspc: Platform::of(case).fmspc,
        }
    }

    /// The JSON of dcap-qvl's `QuoteCollateralV3`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("write collateral")
    }

    /// What Intel's service (PCS) or a cache of it (PCCS), version 4, answers to a `GET` of this
    /// path and query; `None` stands for 404.
    ///
    /// The two differ in the root's CRL: PCS has it as a file in DER, PCCS as text in hexadecimal.
    pub fn response(&self, target: &str) -> Option<Response> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        match path {
            "/tdx/certification/v4/tcb"
                if parameter("fmspc")
                    .is_some_and(|fmspc| fmspc.eq_ignore_ascii_case(&hex(&self.fmspc))) =>
            {
                let (info, signature) = (&self.tcb_info, hex(&self.tcb_info_signature));
                Some(Response {
                    content_type: "application/json",
                    issuer_chain: Some((
                        "TCB-Info-Issuer-Chain",
                        percent_encoded(&self.tcb_info_issuer_chain),
                    )),
                    body: format!(r#"{{"tcbInfo":{info},"signature":"{signature}"}}"#).into_bytes(),
                })
            }
            "/tdx/certification/v4/qe/identity" => {
                let (identity, signature) = (&self.qe_identity, hex(&self.qe_identity_signature));
                Some(Response {
                    content_type: "application/json",
                    issuer_chain: Some((
                        "SGX-Enclave-Identity-Issuer-Chain",
                        percent_encoded(&self.qe_identity_issuer_chain),
                    )),
                    body: format!(r#"{{"enclaveIdentity":{identity},"signature":"{signature}"}}"#)
                        .into_bytes(),
                })
            }
            "/sgx/certification/v4/pckcrl"
                if parameter("ca") == Some("platform") && parameter("encoding") == Some("der") =>
            {
                Some(Response {
                    content_type: "application/pkix-crl",
                    issuer_chain: Some((
                        "SGX-PCK-CRL-Issuer-Chain",
                        percent_encoded(&self.pck_crl_issuer_chain),
                    )),
                    body: self.pck_crl.clone(),
                })
            }
            "/sgx/certification/v4/rootcacrl" => Some(Response {
                content_type: "text/plain",
                issuer_chain: None,
                body: hex(&self.root_ca_crl).into_bytes(),
            }),
            "/IntelSGXRootCA.der" => Some(Response {
                content_type: "application/pkix-crl",
                issuer_chain: None,
                body: self.root_ca_crl.clone(),
            }),
            _ => None,
        }
    }

    /// The platform that the TCB info is asked for, as it stands in URLs.
    pub fn fmspc(&self) -> String {
        hex_upper(&self.fmspc)
    }
}

/// RFC 3986: all but unreserved characters.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[expect(clippy::ptr_arg, reason = "the type of the fields it is for")]
fn as_hex<S: serde::Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tee::Tee;

    fn collateral() -> Collateral {
        Tee::new(
            1,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        )
        .collateral()
    }

    #[test]
    fn the_signed_text_is_in_the_answer_as_it_was_signed() {
        let collateral = collateral();
        let fmspc = collateral.fmspc();
        for (target, member, signed, signature) in [
            (
                format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update=standard"),
                "tcbInfo",
                &collateral.tcb_info,
                &collateral.tcb_info_signature,
            ),
            (
                "/tdx/certification/v4/qe/identity?update=standard".to_owned(),
                "enclaveIdentity",
                &collateral.qe_identity,
                &collateral.qe_identity_signature,
            ),
        ] {
            let response = collateral.response(&target).unwrap();
            let body = String::from_utf8(response.body).unwrap();
            let signature = hex(signature);
            assert_eq!(
                body,
                format!(r#"{{"{member}":{signed},"signature":"{signature}"}}"#)
            );
            let (_, chain) = response.issuer_chain.unwrap();
            assert!(
                chain.starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
                "{chain}"
            );
        }
    }

    #[test]
    fn lists_are_der_from_intel_and_hexadecimal_from_a_cache() {
        let collateral = collateral();
        let body = |target: &str| collateral.response(target).unwrap().body;
        let pck = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
        assert_eq!(body(pck), collateral.pck_crl);
        assert_eq!(body("/IntelSGXRootCA.der"), collateral.root_ca_crl);
        let cached = body("/sgx/certification/v4/rootcacrl");
        assert_eq!(cached, hex(&collateral.root_ca_crl).into_bytes());
    }

    #[test]
    fn what_it_does_not_have_is_not_found() {
        let collateral = collateral();
        for target in [
            "/",
            "/tdx/certification/v4/tcb",
            "/tdx/certification/v4/tcb?fmspc=000000000000",
            "/sgx/certification/v4/tcb?fmspc=00A06F050000",
            "/sgx/certification/v4/pckcrl?ca=processor&encoding=der",
        ] {
            assert_eq!(collateral.response(target), None, "{target}");
        }
    }
}
