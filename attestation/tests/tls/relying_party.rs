//! The real verifier and policy on both sides of real connections, with a TEE of test keys: what
//! is right is trusted, and every fault that the TEE can have is refused with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use attestation::attester::{Attester, Attesting};
use attestation::evidence::DcapTdx;
use attestation::fetch::{Clock, CollateralService, Pcs};
use attestation::tls::{Connector, Dial, Fault as Whose, HandshakeError, Nobody, Protocol};
use attestation::{
    Appraised, Appraiser, Binding, Collateral, CollateralSource, Evidence, EvidenceKind,
    EvidenceVerifier, Policy, Proven, TcbPolicy, TrustRoots, Verifier,
};
use measurements::Digest;
use measurements::reference::{AttestationType, ReferenceValues, RegisterValue};
use testkit::tee::Tee;
use testkit::tee::azure_document::AzureDocumentFault;
use testkit::tee::fault::Fault;
use testkit::tee::quote::QuoteFault;

use crate::node::{client, meet, server};
use crate::parties::chain;

const NOW: u64 = 1_790_000_000;
const KINDS: [EvidenceKind; 2] = [EvidenceKind::AzureTdx, EvidenceKind::DcapTdx];
const PROTOCOLS: [Protocol; 2] = [Protocol::Atls, Protocol::Ratls];

/// What existing machines send and what nobody reads: these change nothing in any form.
const HARMLESS: [Fault; 2] = [
    Fault::Quote(QuoteFault::Trailing),
    Fault::AzureDocument(AzureDocumentFault::Sha1QuoteToo),
];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The machine that is right, whose many signatures take their time.
static RIGHT: LazyLock<Tee> = LazyLock::new(|| Tee::new(1, now()));

/// Trusts it, and has its collateral.
static TRUSTING: LazyLock<Appraiser> = LazyLock::new(|| appraising(&right()));

static ROOTS: LazyLock<TrustRoots> = LazyLock::new(|| {
    let ak_root = RIGHT.ak_certificates(&RIGHT.ak()).root;
    TrustRoots::danger_trust_instead(RIGHT.root().to_vec(), vec![ak_root])
});

fn right() -> Tee {
    RIGHT.clone()
}

fn clock() -> Clock {
    Arc::new(|| NOW)
}

/// Trusts the roots of the machine that is right.
fn roots() -> TrustRoots {
    ROOTS.clone()
}

/// Verifies with what Intel publishes about a machine.
fn proving(tee: &Tee) -> EvidenceVerifier {
    let collateral = Collateral::parse(tee.collateral().to_json().as_bytes()).unwrap();
    let collateral = CollateralSource::Given(Arc::new(collateral));
    EvidenceVerifier::new(Verifier::new(roots()), collateral, clock())
}

/// The images that the machine that is right runs, under another name if PCR 9 is another.
fn policy(pcr_9: Option<[u8; 32]>) -> Policy {
    let tee = right();
    let pcr = |index: u8| match (index, pcr_9) {
        (9, Some(other)) => other,
        _ => tee.pcrs[&index],
    };
    let azure = [4, 9, 11].map(|index| (index, vec![RegisterValue::Sha256(Digest(pcr(index)))]));
    let mrtd = RegisterValue::Sha384(Digest(tee.td.mrtd));
    let image = |measurement_id: &str, attestation_type, registers| ReferenceValues {
        measurement_id: measurement_id.to_owned(),
        attestation_type,
        registers,
    };
    let references = vec![
        image(
            "the image on Azure",
            AttestationType::AzureTdx,
            BTreeMap::from(azure),
        ),
        image(
            "the image",
            AttestationType::DcapTdx,
            BTreeMap::from([(0, vec![mrtd])]),
        ),
    ];
    Policy::new(references, TcbPolicy::up_to_date()).unwrap()
}

fn appraising(tee: &Tee) -> Appraiser {
    Appraiser::new(proving(tee), policy(None))
}

/// Sends documents of a machine byte by byte as it makes them, also those that are no evidence.
#[derive(Clone)]
struct Raw {
    tee: Tee,
    kind: EvidenceKind,
    has_certificates: bool,
    /// Which byte to flip, counted from the start and beyond the end from there again.
    flip: Option<usize>,
}

impl Raw {
    fn of(tee: Tee, kind: EvidenceKind) -> Self {
        Self {
            tee,
            kind,
            has_certificates: false,
            flip: None,
        }
    }

    fn document(&self, binding: &Binding) -> Vec<u8> {
        let mut document = match (binding.user_data(), binding.nonce()) {
            (Some(user_data), Some(nonce)) if self.has_certificates => self
                .tee
                .azure_atls(user_data, nonce)
                .atls_document_with_certificates(),
            _ => self.tee.document(self.kind, binding),
        };
        if let Some(at) = self.flip {
            let at = at % document.len();
            document[at] ^= 1;
        }
        document
    }
}

impl Attester for Raw {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        // Evidence without user data travels as it is.
        let td_quote = self.document(binding);
        let user_data = None;
        Box::pin(async move {
            Ok(Evidence::DcapTdx(DcapTdx {
                td_quote,
                user_data,
            }))
        })
    }

    fn shown_as(&self, _: &Evidence) -> EvidenceKind {
        self.kind
    }
}

fn dial<V>(protocol: Protocol, verifier: V) -> Dial<V> {
    match protocol {
        Protocol::Ratls => Dial::Ratls(verifier),
        _ => Dial::Atls(verifier),
    }
}

/// What became of a connection: for the side that verifies, and for the one that sends.
struct Outcome {
    verifying: Result<Appraised, HandshakeError>,
    sending: Option<HandshakeError>,
}

impl Outcome {
    /// Why it was refused. A document that is too large is not even sent, or not received; then
    /// the sender knows, or the TLS library.
    fn text(&self) -> String {
        let text = match (&self.verifying, &self.sending) {
            (Ok(_), _) => "accepted".to_owned(),
            (Err(HandshakeError::Tls(_)), Some(sending @ HandshakeError::Attester(_))) => {
                match chain(sending) {
                    // Of how many bytes differs each time.
                    text if text.ends_with("bytes does not fit") => "not sent: too large".into(),
                    text => format!("not sent: {text}"),
                }
            }
            (Err(error), _) => chain(error),
        };
        let text = without_function(&text);
        // Where it is in a document that differs in length each time, or in OpenSSL's source.
        let end = [" at line 1 column ", ":../ssl/"]
            .iter()
            .filter_map(|place| text.find(place))
            .min();
        text[..end.unwrap_or(text.len())].to_owned()
    }
}

/// OpenSSL's errors name a function of its own, which is another one in another version.
fn without_function(text: &str) -> String {
    let Some((before, after)) = text.split_once("SSL routines:") else {
        return text.to_owned();
    };
    let (_, reason) = after.split_once(':').unwrap_or(("", after));
    format!("{before}SSL routines:{reason}")
}

/// A client that trusts by `appraiser` meets a server that sends `raw`.
async fn as_server(raw: &Raw, appraiser: &Appraiser, protocol: Protocol) -> Outcome {
    let server = server(Some(raw.clone()), None::<Nobody>);
    let client: Connector<Nobody, _> = client(dial(protocol, appraiser.clone()), None);
    let (accepted, connected) = meet(&server, &client).await;
    Outcome {
        verifying: connected.map(|connected| connected.peer.unwrap().into_claims()),
        sending: accepted.err(),
    }
}

/// Such a server, having proven itself, meets a client that sends `raw`.
async fn as_client(raw: &Raw, appraiser: &Appraiser, protocol: Protocol) -> Outcome {
    let own = right().attester(EvidenceKind::DcapTdx);
    let server = server(Some(own), Some(appraiser.clone()));
    let client = client(dial(protocol, TRUSTING.clone()), Some(raw.clone()));
    let (accepted, connected) = meet(&server, &client).await;
    Outcome {
        verifying: accepted.map(|accepted| accepted.peer.unwrap().into_claims()),
        sending: connected.err(),
    }
}

#[tokio::test]
async fn both_sides_are_trusted() {
    for protocol in PROTOCOLS {
        for kind in KINDS {
            let (near, far) = (right().attester(kind), right().attester(kind));
            let server = server(Some(near), Some(appraising(&right())));
            let client = client(dial(protocol, appraising(&right())), Some(far));
            let (accepted, connected) = meet(&server, &client).await;
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            crate::node::talk(&mut accepted.stream, &mut connected.stream).await;
            for peer in [accepted.peer.unwrap(), connected.peer.unwrap()] {
                assert_eq!(peer.kind(), kind);
                let Appraised { proven, appraisal } = peer.claims();
                assert!(appraisal.is_trusted());
                assert_eq!(proven.verified.kind(), kind);
                assert_eq!(proven.time, NOW);
                assert!(!proven.verified.roots_are_pinned());
                // What is kept proves the same later.
                let evidence = match protocol {
                    Protocol::Ratls => Evidence::parse_ratls(kind, peer.document()),
                    _ => Evidence::parse_atls(kind, peer.document()),
                };
                let again = Verifier::new(roots()).verify(
                    &evidence.unwrap(),
                    &proven.collateral,
                    peer.binding(),
                    proven.time,
                );
                assert_eq!(again.unwrap(), proven.verified);
            }
        }
    }
}

#[tokio::test]
async fn another_image_is_genuine_but_not_trusted() {
    for protocol in PROTOCOLS {
        let server = server(
            Some(right().attester(EvidenceKind::AzureTdx)),
            None::<Nobody>,
        );
        let anyone: Connector<Nobody, _> = client(dial(protocol, proving(&right())), None);
        let (_, connected) = meet(&server, &anyone).await;
        let Proven { verified, .. } = connected.unwrap().peer.unwrap().into_claims();
        let actual = verified.registers()[&9];

        let other = Appraiser::new(proving(&right()), policy(Some([5; 32])));
        let strict: Connector<Nobody, _> = client(dial(protocol, other), None);
        let (_, connected) = meet(&server, &strict).await;
        let error = connected.map(drop).unwrap_err();
        assert_eq!(error.fault(), Whose::PeerIdentity);
        let expected = format!(
            "the peer's azure-tdx evidence was refused: the machine runs no accepted image; the \
             image on Azure is nearest: register 9 is {actual}, expected {}",
            "05".repeat(32)
        );
        assert_eq!(chain(&error), expected);
    }
}

#[tokio::test]
async fn without_collateral_nobody_is_trusted() {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let away = Pcs::cache("http://127.0.0.1:1");
    let service = CollateralService::new(away, Arc::new(tls), clock(), roots());
    let source = CollateralSource::Service(Arc::new(service));
    let verifier = EvidenceVerifier::new(Verifier::new(roots()), source, clock());
    let server = server(
        Some(right().attester(EvidenceKind::DcapTdx)),
        None::<Nobody>,
    );
    let client: Connector<Nobody, _> = client(Dial::Ratls(verifier), None);
    let (_, connected) = meet(&server, &client).await;
    let error = chain(&connected.map(drop).unwrap_err());
    let expected = "the peer's dcap-tdx evidence was refused: fetch collateral of platform \
        00A06F050000-platform: get http://127.0.0.1:1/tdx/certification/v4/tcb?fmspc=00A06F050000: \
        connect: ";
    assert!(error.starts_with(expected), "{error}");
}

/// Every fault, in every form that can have it, sent by either side. The table beside this file
/// has the text of each refusal, to be read: it has to say what was wrong.
#[tokio::test]
async fn every_fault_is_refused_with_its_reason() {
    let mut actual = String::new();
    let mut refused = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for fault in Fault::all() {
        seen.insert(fault);
        let tee = Tee::with_fault(1, now(), fault);
        let appraiser = appraising(&tee);
        for kind in KINDS {
            let is_in_kind = match kind {
                EvidenceKind::AzureTdx => fault.is_in_azure(),
                EvidenceKind::DcapTdx => fault.is_in_dcap(),
            };
            if !is_in_kind {
                continue;
            }
            for protocol in PROTOCOLS {
                let mut raw = Raw::of(tee.clone(), kind);
                raw.has_certificates = matches!(fault, Fault::AkCertificate(_));
                let server = as_server(&raw, &appraiser, protocol).await.text();
                let client = as_client(&raw, &appraiser, protocol).await.text();
                let what = format!("{fault} {kind} {protocol:?}");
                if server == client {
                    actual.push_str(&format!("{what}: {server}\n"));
                } else {
                    actual.push_str(&format!("{what}, by a server: {server}\n"));
                    actual.push_str(&format!("{what}, by a client: {client}\n"));
                }
                if server != "accepted" && client != "accepted" {
                    refused.insert(fault);
                }
            }
        }
    }
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refusals.txt");
    std::fs::write(&written, &actual).unwrap();
    assert!(seen.len() >= 178);
    let harmless: BTreeSet<Fault> = seen.difference(&refused).copied().collect();
    assert_eq!(harmless, BTreeSet::from(HARMLESS));

    let expected = include_str!("refusals.txt");
    for (actual, expected) in actual.lines().zip(expected.lines()) {
        assert_eq!(actual, expected, "all of it is in {}", written.display());
    }
    assert_eq!(actual.lines().count(), expected.lines().count());
}

/// One byte in so many of the document, in the certificate and in the message.
#[tokio::test]
async fn a_flipped_byte_is_refused_or_changes_nothing() {
    for kind in KINDS {
        for protocol in PROTOCOLS {
            let mut raw = Raw::of(right(), kind);
            let clean = as_server(&raw, &TRUSTING, protocol)
                .await
                .verifying
                .unwrap()
                .proven
                .verified;
            let binding = match protocol {
                Protocol::Ratls => Binding::ratls_input_data([0; 64]),
                _ => Binding::atls_user_data([0; 32], b"nonce"),
            };
            let length = raw.document(&binding).len();
            let (mut refused, mut tried) = (0, 0);
            // Documents of one form differ in length by a few bytes, as numbers do.
            for at in (0..length).step_by(length / 97) {
                raw.flip = Some(at);
                tried += 1;
                let outcome = match tried % 2 {
                    0 => as_server(&raw, &TRUSTING, protocol).await,
                    _ => as_client(&raw, &TRUSTING, protocol).await,
                };
                match outcome.verifying {
                    Ok(appraised) => {
                        let verified = appraised.proven.verified;
                        assert_eq!(verified.registers(), clean.registers(), "byte {at}");
                        assert_eq!(verified.tcb(), clean.tcb(), "byte {at}");
                        assert_eq!(verified.td().mr_td, clean.td().mr_td, "byte {at}");
                        assert_eq!(verified.td().rtmr, clean.td().rtmr, "byte {at}");
                    }
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.fault(), Whose::PeerIdentity, "byte {at}: {error}");
                    }
                }
            }
            assert!(refused * 10 > tried * 8, "{kind} {protocol:?}: {refused}");
        }
    }
}
