//! Every way in which two honest sides meet.

use attestation::tls::{Acceptor, Dial, Fault, HandshakeError, Http, Nobody, Protocol};

use crate::node::{Authority, NAME, client, meet, own, server, settings, talk};
use crate::parties::{TestAttester, TestVerifier, chain};

#[tokio::test]
async fn atls_server_attests() {
    let attester = TestAttester::new(1);
    let server = server(Some(attester.clone()), None::<Nobody>);
    let client = client(Dial::Atls(TestVerifier::of(&attester)), None::<Nobody>);
    let (accepted, connected) = meet(&server, &client).await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.protocol, Protocol::Atls);
    assert!(accepted.peer.is_none());
    let peer = connected.peer.unwrap();
    assert_eq!(peer.claims(), &attester.public_key());
    assert_eq!(attester.made(), (1, 1));
    talk(&mut accepted.stream, &mut connected.stream).await;
    talk(&mut connected.stream, &mut accepted.stream).await;
}

#[tokio::test]
async fn atls_mutual_with_documents_of_every_size() {
    for size in [1000, 15_000, 75_000, 180_000] {
        let mut machines = [TestAttester::new(1), TestAttester::new(2)];
        machines.iter_mut().for_each(|machine| machine.size = size);
        let [one, other] = machines;
        let server = server(Some(one.clone()), Some(TestVerifier::of(&other)));
        let client = client(Dial::Atls(TestVerifier::of(&one)), Some(other.clone()));
        let (accepted, connected) = meet(&server, &client).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(*accepted.peer.unwrap().claims(), other.public_key());
        let peer = connected.peer.unwrap();
        assert_eq!(*peer.claims(), one.public_key());
        assert!(peer.document().len() > size);
        talk(&mut accepted.stream, &mut connected.stream).await;
    }
}

#[tokio::test]
async fn a_named_server_verifies_attested_clients() {
    let authority = Authority::new();
    let attester = TestAttester::new(1);
    let hub = settings(
        authority.identity(NAME),
        None::<Nobody>,
        Some(TestVerifier::of(&attester)),
    );
    let certificate = own(&hub.identity);
    let hub = Acceptor::new(hub).unwrap();
    let node = client(
        Dial::<Nobody>::AtlsNamed(authority.names(NAME)),
        Some(attester),
    );
    let (accepted, connected) = meet(&hub, &node).await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert!(accepted.peer.is_some() && connected.peer.is_none());
    assert_eq!(connected.certificate, certificate.as_ref());
    talk(&mut connected.stream, &mut accepted.stream).await;
}

#[tokio::test]
async fn a_named_server_of_another_name_or_authority_learns_nothing() {
    let authority = Authority::new();
    let attester = TestAttester::new(1);
    let hub = || {
        let identity = authority.identity(NAME);
        let verifier = Some(TestVerifier::of(&TestAttester::new(1)));
        Acceptor::new(settings(identity, None::<Nobody>, verifier)).unwrap()
    };
    for names in [
        authority.names("other.example"),
        Authority::new().names(NAME),
    ] {
        let atls = client(
            Dial::<Nobody>::AtlsNamed(names.clone()),
            Some(attester.clone()),
        );
        let ratls = client(Dial::<Nobody>::RatlsNamed(names), Some(attester.clone()));
        for node in [atls, ratls] {
            let (accepted, connected) = meet(&hub(), &node).await;
            let error = connected.unwrap_err();
            assert!(
                matches!(error, HandshakeError::Name(_)),
                "{}",
                chain(&error)
            );
            assert_eq!(error.fault(), Fault::PeerIdentity);
            assert!(accepted.is_err());
        }
    }
    assert_eq!(attester.made(), (0, 0), "no evidence for an impostor");
}

#[tokio::test]
async fn ratls_in_all_combinations() {
    let authority = Authority::new();
    for is_mutual in [false, true] {
        for dialled in 0..3 {
            let (one, other) = (TestAttester::new(1), TestAttester::new(2));
            let verifier = is_mutual.then(|| TestVerifier::of(&other));
            let settings = settings(authority.identity(NAME), Some(one.clone()), verifier);
            let server = Acceptor::new(settings).unwrap();
            let names = authority.names(NAME);
            let dial = match dialled {
                0 => Dial::Ratls(TestVerifier::of(&one)),
                1 => Dial::RatlsNamed(names),
                _ => Dial::RatlsBoth(TestVerifier::of(&one), names),
            };
            let client = client(dial, is_mutual.then(|| other.clone()));
            let (accepted, connected) = meet(&server, &client).await;
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            assert_eq!(accepted.protocol, Protocol::Ratls);
            assert_eq!((accepted.http, connected.http), (Http::Http2, Http::Http2));
            let claims = |seen: Option<attestation::tls::VerifiedPeer<Vec<u8>>>| {
                seen.map(|peer| peer.into_claims())
            };
            let expected = is_mutual.then(|| other.public_key());
            assert_eq!(claims(accepted.peer), expected);
            let expected = (dialled != 1).then(|| one.public_key());
            assert_eq!(claims(connected.peer), expected);
            talk(&mut accepted.stream, &mut connected.stream).await;
        }
    }
}

#[tokio::test]
async fn a_server_without_evidence_is_refused_by_who_wants_some() {
    let verifier = || TestVerifier::of(&TestAttester::new(1));
    for dial in [Dial::Atls(verifier()), Dial::Ratls(verifier())] {
        let server = server(None::<Nobody>, None::<Nobody>);
        let (_, connected) = meet(&server, &client(dial, None::<Nobody>)).await;
        let error = connected.unwrap_err();
        assert_eq!(
            chain(&error),
            "the peer does not keep to the protocol: the peer shows no evidence"
        );
        assert_eq!(error.fault(), Fault::PeerIdentity);
    }
}

#[tokio::test]
async fn a_client_without_evidence_is_refused_by_who_wants_some() {
    let authority = Authority::new();
    let attester = TestAttester::new(1);
    let verifier = || TestVerifier::of(&attester);
    for dial in [
        Dial::Atls(verifier()),
        Dial::Ratls(verifier()),
        Dial::AtlsNamed(authority.names(NAME)),
    ] {
        let identity = authority.identity(NAME);
        let settings = settings(identity, Some(attester.clone()), Some(verifier()));
        let server = Acceptor::new(settings).unwrap();
        let (accepted, _) = meet(&server, &client(dial, None::<Nobody>)).await;
        let error = accepted.unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains("shows no evidence") || text.contains("did not return a certificate"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_attester_that_fails_is_this_sides_fault() {
    let mut attester = TestAttester::new(1);
    attester.fails = Some("the TPM is on fire");
    let verifier = || TestVerifier::of(&attester);
    for dial in [Dial::Atls(verifier()), Dial::Ratls(verifier())] {
        let server = server(Some(attester.clone()), None::<Nobody>);
        let (accepted, connected) = meet(&server, &client(dial, None::<Nobody>)).await;
        let error = accepted.unwrap_err();
        assert_eq!(error.fault(), Fault::Local);
        assert_eq!(
            chain(&error),
            "own evidence could not be made: make evidence: the TPM is on fire"
        );
        assert!(connected.is_err(), "and never a connection without it");
    }
}
