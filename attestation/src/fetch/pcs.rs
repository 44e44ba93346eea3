//! What a provisioning certification service (Intel's PCS, or a cache of it, a PCCS) is asked,
//! and how its answers become collateral. Version 4 of both.
//!
//! I/O: network.

use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::http::{Client, HttpError, Response};
use super::rollback::Older;
use crate::collateral::{Collateral, CollateralError, CollateralParts, NotGenuine, PlatformKey};

const INTEL: &str = "https://api.trustedservices.intel.com";
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// Tries of each request, and how long to wait after the first; then twice as long each time.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Who wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A service, by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcs {
    /// Without a slash at the end.
    base: String,
    /// `None` if the service has it itself, as text.
    root_crl: Option<String>,
}

/// Why a service's answers are not collateral.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PcsError {
    /// There is no answer.
    #[error("get {url}")]
    Http {
        /// What was asked for.
        url: String,
        /// Why not.
        #[source]
        source: HttpError,
    },
    /// The answer has not the expected form.
    #[error("get {url}: expected {expected}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The answers are somebody else's, or about another platform.
    #[error("what the service answers is not genuine")]
    NotGenuine(#[from] NotGenuine),
    /// The answers are not valid now.
    #[error("what the service answers cannot be used")]
    NotValid(#[from] CollateralError),
    /// The answers are older than what is known.
    #[error("what the service answers is older than what is known")]
    Older(#[from] Older),
    /// All answers together take too long for somebody who has older ones.
    #[error("not all answers within {limit:?}")]
    Slow {
        /// How long was waited.
        limit: Duration,
    },
    /// There are more platforms than are looked after, and all are being fetched.
    #[error("collateral of {actual} other platforms is being fetched")]
    Busy {
        /// How many.
        actual: usize,
    },
    /// The program ends.
    #[error("fetching was given up")]
    GivenUp,
}

impl PcsError {
    /// How long the service wants to be left alone, in seconds, if it says.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Http { source, .. } => source.retry_after(),
            _ => None,
        }
    }
}

/// `{"tcbInfo": …, "signature": …}`; the text of the first is what is signed.
#[derive(Deserialize)]
struct SignedTcbInfo<'a> {
    #[serde(rename = "tcbInfo", borrow)]
    tcb_info: &'a RawValue,
    signature: String,
}

/// `{"enclaveIdentity": …, "signature": …}`.
#[derive(Deserialize)]
struct SignedIdentity<'a> {
    #[serde(rename = "enclaveIdentity", borrow)]
    identity: &'a RawValue,
    signature: String,
}

impl Pcs {
    /// Intel's own.
    pub fn intel() -> Self {
        Self {
            base: INTEL.to_owned(),
            root_crl: Some(INTEL_ROOT_CRL.to_owned()),
        }
    }

    /// A copy of Intel's own, which has the root's CRL as a file, DER, at an address of its own.
    pub fn mirror(base: &str, root_crl: &str) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            root_crl: Some(root_crl.to_owned()),
        }
    }

    /// A cache of Intel's, by the part of its address that comes before `/sgx/` and `/tdx/`, such
    /// as `https://pccs.example:8081`.
    pub fn cache(base: &str) -> Self {
        let base = base.trim_end_matches('/');
        let base = ["/sgx/certification/v4", "/tdx/certification/v4"]
            .iter()
            .find_map(|path| base.strip_suffix(path))
            .unwrap_or(base);
        if base == INTEL {
            return Self::intel();
        }
        Self {
            base: base.to_owned(),
            root_crl: None,
        }
    }

    /// Fetches all that the verification of TD quotes of a platform takes.
    pub(super) async fn fetch(
        &self,
        platform: PlatformKey,
        client: &Client,
    ) -> Result<Collateral, PcsError> {
        let Self { base, root_crl } = self;
        let (fmspc, ca) = (platform.fmspc_hex(), platform.ca.name());
        let get = |url: String| Answer::get(url, client);
        let tcb_info = get(format!("{base}/tdx/certification/v4/tcb?fmspc={fmspc}")).await?;
        let qe_identity = get(format!("{base}/tdx/certification/v4/qe/identity")).await?;
        let pck_crl = format!("{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der");
        let pck_crl = get(pck_crl).await?;
        let own = || format!("{base}/sgx/certification/v4/rootcacrl");
        let root = get(root_crl.clone().unwrap_or_else(own)).await?;

        let signed: SignedTcbInfo<'_> = tcb_info.json()?;
        let identity: SignedIdentity<'_> = qe_identity.json()?;
        Ok(Collateral::new(CollateralParts {
            tcb_info_issuer_chain: tcb_info
                .chain(&["tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain"])?,
            tcb_info: signed.tcb_info.get().to_owned(),
            tcb_info_signature: tcb_info.hex(&signed.signature)?,
            qe_identity_issuer_chain: qe_identity.chain(&["sgx-enclave-identity-issuer-chain"])?,
            qe_identity: identity.identity.get().to_owned(),
            qe_identity_signature: qe_identity.hex(&identity.signature)?,
            pck_crl_issuer_chain: pck_crl.chain(&["sgx-pck-crl-issuer-chain"])?,
            pck_crl: pck_crl.response.body,
            root_ca_crl: match root_crl {
                Some(_) => root.response.body,
                None => root.hex(&String::from_utf8_lossy(&root.response.body))?,
            },
        }))
    }
}

/// An answer, with what was asked.
struct Answer {
    url: String,
    response: Response,
}

impl Answer {
    async fn get(url: String, client: &Client) -> Result<Self, PcsError> {
        let Ok(uri) = url.parse::<Uri>() else {
            let expected = "an address such as https://host:port";
            return Err(PcsError::Malformed { url, expected });
        };
        let mut wait = FIRST_WAIT;
        let mut left = TRIES;
        loop {
            let source = match client.get(&uri).await {
                Ok(response) => return Ok(Self { url, response }),
                Err(source) => source,
            };
            left = left.saturating_sub(1);
            let wanted = Duration::from_secs(source.retry_after().unwrap_or(0));
            if left == 0 || !source.is_transient() || wanted > LONGEST_WAIT {
                return Err(PcsError::Http { url, source });
            }
            trying_again(&url, &source);
            tokio::time::sleep(wait.max(wanted)).await;
            wait = wait.saturating_mul(2);
        }
    }

    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PcsError> {
        serde_json::from_slice(&self.response.body).map_err(|_| self.malformed("signed JSON"))
    }

    /// The first of the headers that is there; PEM, percent-encoded.
    fn chain(&self, names: &[&str]) -> Result<String, PcsError> {
        let headers = &self.response.headers;
        names
            .iter()
            .find_map(|name| headers.get(*name))
            .and_then(|value| percent_decoded(value.as_bytes()))
            .ok_or_else(|| self.malformed("a header with the issuers' certificates"))
    }

    fn hex(&self, text: &str) -> Result<Vec<u8>, PcsError> {
        from_hex(text.trim()).ok_or_else(|| self.malformed("hex digits"))
    }

    fn malformed(&self, expected: &'static str) -> PcsError {
        PcsError::Malformed {
            url: self.url.clone(),
            expected,
        }
    }
}

fn trying_again(url: &str, error: &HttpError) {
    let error: &dyn std::error::Error = error;
    tracing::debug!(url, error, "trying again");
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|[high, low]| byte(*high, *low)).collect()
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let value = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
    u8::try_from(value).ok()
}

/// RFC 3986, 2.1. A plus sign stands for itself: it is part of base64.
fn percent_decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [] => break,
            [b'%', high, low, after @ ..] => {
                bytes.push(byte(*high, *low)?);
                rest = after;
            }
            [b'%', ..] => return None,
            [plain, after @ ..] => {
                bytes.push(*plain);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
