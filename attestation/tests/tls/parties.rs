//! An attester and a verifier for tests of the handshake: the evidence is a signature by a test
//! key over what evidence has to be bound to, and nothing else. It travels as `dcap-tdx`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attestation::attester::{AttestError, Attester, Attesting};
use attestation::binding::Binding;
use attestation::evidence::{DcapTdx, Evidence};
use attestation::tls::{BoxError, PeerVerifier, Protocol, Shown};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// In front of what is signed, so that no key of a handshake could have signed it.
const CONTEXT: &[u8] = b"evidence of a test";

/// The bytes of the signed part.
const SIGNED: usize = 64 + 64;

/// Makes evidence.
#[derive(Clone)]
pub(crate) struct TestAttester {
    key: Arc<Ed25519KeyPair>,
    /// Bytes of the TD quote in the document.
    pub(crate) size: usize,
    /// How long a quote takes.
    pub(crate) takes: Duration,
    /// Why it does not work, if it does not.
    pub(crate) fails: Option<&'static str>,
    /// What to sign instead of the binding's report data.
    pub(crate) signs_instead: Option<fn([u8; 64]) -> [u8; 64]>,
    /// What to send as user data instead of the binding's.
    pub(crate) sends_instead: Option<fn([u8; 32]) -> [u8; 32]>,
    /// How many are being made now, at most at the same time, and in all.
    load: Arc<(AtomicUsize, AtomicUsize, AtomicUsize)>,
}

impl TestAttester {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            key: Arc::new(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()),
            size: 1000,
            takes: Duration::ZERO,
            fails: None,
            signs_instead: None,
            sends_instead: None,
            load: Arc::default(),
        }
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    /// How many pieces of evidence were made, and how many at the same time at most.
    pub(crate) fn made(&self) -> (usize, usize) {
        let (_, most, all) = &*self.load;
        (all.load(Ordering::SeqCst), most.load(Ordering::SeqCst))
    }

    fn quote(&self, report_data: [u8; 64]) -> Vec<u8> {
        let report_data = self.signs_instead.map_or(report_data, |f| f(report_data));
        let signature = self.key.sign(&[CONTEXT, &report_data].concat());
        let mut quote = [&report_data, signature.as_ref()].concat();
        quote.resize(self.size.max(SIGNED), 0xa5);
        quote
    }
}

impl Attester for TestAttester {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move {
            if let Some(reason) = self.fails {
                return Err(AttestError::of(reason));
            }
            let (now, most, all) = &*self.load;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            now.fetch_sub(1, Ordering::SeqCst);
            all.fetch_add(1, Ordering::SeqCst);
            let user_data = binding.user_data();
            let alter = self.sends_instead.unwrap_or(|user_data| user_data);
            Ok(Evidence::DcapTdx(DcapTdx {
                td_quote: self.quote(binding.report_data()),
                user_data: user_data.map(|user_data| alter(user_data).to_vec()),
            }))
        })
    }
}

/// Verifies such evidence, and claims who made it.
#[derive(Clone)]
pub(crate) struct TestVerifier {
    trusted: Vec<u8>,
}

/// Why it is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the evidence is malformed")]
    Malformed,
    #[error("the evidence is not signed by the test key")]
    Signature,
    #[error("the evidence was made for other report data")]
    ReportData,
    #[error("the evidence was made for another key")]
    UserData,
}

impl TestVerifier {
    /// Trusts what `attester` makes.
    pub(crate) fn of(attester: &TestAttester) -> Self {
        Self {
            trusted: attester.public_key(),
        }
    }

    fn check(&self, shown: Shown<'_>) -> Result<Vec<u8>, Refused> {
        // Larger documents than real evidence are, so not the parser for that.
        let (quote, user_data) = match shown.protocol {
            Protocol::Ratls => (shown.document.to_vec(), None),
            _ => {
                let json: serde_json::Value =
                    serde_json::from_slice(shown.document).map_err(|_| Refused::Malformed)?;
                let field = |name: &str| {
                    let text = json[name].as_str().ok_or(Refused::Malformed)?;
                    BASE64_STANDARD.decode(text).map_err(|_| Refused::Malformed)
                };
                (field("RawQuote")?, Some(field("UserData")?))
            }
        };
        let report_data = quote.get(..64).ok_or(Refused::Malformed)?;
        let signature = quote.get(64..SIGNED).ok_or(Refused::Malformed)?;
        UnparsedPublicKey::new(&ED25519, &self.trusted)
            .verify(&[CONTEXT, report_data].concat(), signature)
            .map_err(|_| Refused::Signature)?;
        if report_data != shown.binding.report_data() {
            return Err(Refused::ReportData);
        }
        if user_data.as_deref() != shown.binding.user_data().as_ref().map(|data| &data[..]) {
            return Err(Refused::UserData);
        }
        Ok(self.trusted.clone())
    }
}

impl PeerVerifier for TestVerifier {
    type Claims = Vec<u8>;

    async fn verify(&self, shown: Shown<'_>) -> Result<Vec<u8>, BoxError> {
        Ok(self.check(shown)?)
    }
}

/// An error with all its causes, as a user sees it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
