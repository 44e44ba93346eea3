//! Evidence that is about something else than this connection, in each direction.

use std::sync::Arc;
use std::sync::Mutex;

use attestation::attester::{Attester, Attesting};
use attestation::binding::Binding;
use attestation::evidence::Evidence;
use attestation::tls::{Dial, Fault, Nobody, PeerVerifier};

use crate::node::{client, meet, server};
use crate::parties::{TestAttester, TestVerifier, chain};

/// Has `bad` attest to a verifier of the good machine, in both protocols and directions, and
/// expects `reason`.
async fn refused(bad: impl Attester + Clone, reason: &str) {
    let good = TestAttester::new(1);
    for is_ratls in [false, true] {
        let dial = |verifier| match is_ratls {
            true => Dial::Ratls(verifier),
            false => Dial::Atls(verifier),
        };
        let verifier = || TestVerifier::of(&good);
        let server = server(Some(bad.clone()), None::<Nobody>);
        let (_, connected) = meet(&server, &client(dial(verifier()), None::<Nobody>)).await;
        expect(connected.map(drop), reason, is_ratls);

        let server = crate::node::server(Some(good.clone()), Some(verifier()));
        let (accepted, _) = meet(&server, &client(dial(verifier()), Some(bad.clone()))).await;
        expect(accepted.map(drop), reason, is_ratls);
    }
}

fn expect(result: Result<(), attestation::tls::HandshakeError>, reason: &str, is_ratls: bool) {
    let error = result.unwrap_err();
    assert_eq!(error.fault(), Fault::PeerIdentity);
    let expected = format!("the peer's dcap-tdx evidence was refused: {reason}");
    assert_eq!(chain(&error), expected, "ratls: {is_ratls}");
}

#[tokio::test]
async fn of_another_machine() {
    let reason = "the evidence is not signed by the test key";
    refused(TestAttester::new(2), reason).await;
}

#[tokio::test]
async fn for_other_report_data() {
    // aTLS: key and nonce, then zeros. flashbots-ratls/1: key, then exporter.
    let flips: [fn([u8; 64]) -> [u8; 64]; 4] = [
        |data| flip(data, 0),
        |data| flip(data, 31),
        |data| flip(data, 32),
        |data| flip(data, 63),
    ];
    for signs_instead in flips {
        let mut bad = TestAttester::new(1);
        bad.signs_instead = Some(signs_instead);
        refused(bad, "the evidence was made for other report data").await;
    }
}

fn flip(mut data: [u8; 64], at: usize) -> [u8; 64] {
    data[at] ^= 1;
    data
}

#[tokio::test]
async fn for_another_key_of_the_same_nonce() {
    let mut bad = TestAttester::new(1);
    bad.sends_instead = Some(|mut user_data| {
        user_data[0] ^= 1;
        user_data
    });
    let server = server(Some(bad), None::<Nobody>);
    let verifier = TestVerifier::of(&TestAttester::new(1));
    let (_, connected) = meet(&server, &client(Dial::Atls(verifier), None::<Nobody>)).await;
    expect(
        connected.map(drop),
        "the evidence was made for another key",
        false,
    );
}

/// Shows again what was made for the first connection.
#[derive(Clone)]
struct Replaying {
    attester: TestAttester,
    first: Arc<Mutex<Option<Evidence>>>,
}

impl Attester for Replaying {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move {
            let recorded = self.first.lock().unwrap().clone();
            if let Some(evidence) = recorded {
                return Ok(evidence);
            }
            let evidence = self.attester.attest(binding).await?;
            *self.first.lock().unwrap() = Some(evidence.clone());
            Ok(evidence)
        })
    }
}

#[tokio::test]
async fn of_an_earlier_connection() {
    let good = TestAttester::new(1);
    for is_ratls in [false, true] {
        // The same key throughout: only the nonce or the session differs.
        let bad = Replaying {
            attester: good.clone(),
            first: Arc::default(),
        };
        let server = server(Some(bad), None::<Nobody>);
        let verifier = TestVerifier::of(&good);
        let dial = match is_ratls {
            true => Dial::Ratls(verifier),
            false => Dial::Atls(verifier),
        };
        let client = client(dial, None::<Nobody>);
        let (accepted, connected) = meet(&server, &client).await;
        assert!(accepted.is_ok() && connected.is_ok());
        for _ in 0..2 {
            let (_, connected) = meet(&server, &client).await;
            let reason = "the evidence was made for other report data";
            expect(connected.map(drop), reason, is_ratls);
        }
    }
}

/// Never answers.
struct Pondering;

impl PeerVerifier for Pondering {
    type Claims = ();

    async fn verify(
        &self,
        _: attestation::tls::Shown<'_>,
    ) -> Result<(), attestation::tls::BoxError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_does_not_answer_accepts_nobody() {
    let good = TestAttester::new(1);
    for dial in [Dial::Atls(Pondering), Dial::Ratls(Pondering)] {
        let server = server(Some(good.clone()), None::<Nobody>);
        let (_, connected) = meet(&server, &client(dial, None::<Nobody>)).await;
        let error = connected.unwrap_err();
        assert_eq!(error.fault(), Fault::Time);
        assert_eq!(
            error.to_string(),
            "verifying the peer's evidence took longer than 30s"
        );
    }
}
