//! Collateral is fetched, kept, refreshed, and not fetched more often than needed. The service is
//! one of this process, on the loopback device.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and looks at files"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use attestation::fetch::{Clock, CollateralService, FetchError, Pcs, PcsError};
use attestation::{Binding, Collateral, Evidence, EvidenceKind, TrustRoots, Verifier};
use testkit::tee::Tee;

const NOW: u64 = 1_790_000_000;

fn tee() -> Tee {
    Tee::new(1, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

fn roots() -> TrustRoots {
    TrustRoots::danger_trust_instead(tee().root().to_vec(), Vec::new())
}

/// A service that can be told to fail.
struct Service {
    address: String,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
    collateral: Arc<Mutex<testkit::tee::Collateral>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Right,
    Status(u16),
    Garbage,
    TooLarge,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Mutex::new(Answer::Right)),
        );
        let collateral = Arc::new(Mutex::new(tee().collateral()));
        let service = Self {
            address,
            asked: asked.clone(),
            answer: answer.clone(),
            collateral: collateral.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = *answer.lock().unwrap();
                let collateral = collateral.lock().unwrap().clone();
                serve(stream.unwrap(), &collateral, answer);
            }
        });
        service
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn will(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// From now on, Intel's judgement is that of another moment.
    fn judges_at(&self, now: u64) {
        let tee = Tee::new(1, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        *self.collateral.lock().unwrap() = tee.collateral();
    }

    fn fetcher(&self, clock: &Clock) -> CollateralService {
        CollateralService::new(Pcs::cache(&self.address), tls(), clock.clone(), roots())
    }
}

fn serve(mut stream: TcpStream, collateral: &testkit::tee::Collateral, answer: Answer) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend(&buffer[..count]),
        }
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap();
    let (status, chain, body) = match (answer, collateral.response(target)) {
        (Answer::Right, Some(response)) => (200, response.issuer_chain, response.body),
        (Answer::Right, None) => (404, None, Vec::new()),
        (Answer::Status(status), _) => (status, None, Vec::new()),
        (Answer::Garbage, _) => (200, None, b"<html>".to_vec()),
        (Answer::TooLarge, _) => (200, None, vec![b' '; 5 << 20]),
    };
    let chain = chain.map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        chain.unwrap_or_default()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
}

/// A clock that is set by hand.
fn clock() -> (Clock, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(NOW));
    let hands = time.clone();
    (Arc::new(move || time.load(Ordering::SeqCst)), hands)
}

fn tls() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(config)
}

fn quote() -> Vec<u8> {
    tee().dcap_ratls([9; 64]).td_quote
}

#[tokio::test]
async fn what_is_fetched_verifies_and_is_kept() {
    let (service, (clock, _)) = (Service::start(), clock());
    let directory = tempfile::tempdir().unwrap();
    let fetcher =
        CollateralService::new(Pcs::cache(&service.address), tls(), clock.clone(), roots())
            .with_cache(directory.path().to_owned());
    let collateral = fetcher.collateral_for(&quote()).await.unwrap();
    let evidence = Evidence::parse_ratls(EvidenceKind::DcapTdx, &quote()).unwrap();
    let binding = Binding::ratls_input_data([9; 64]);
    let verifier = Verifier::new(roots());
    verifier
        .verify(&evidence, &collateral, &binding, NOW)
        .unwrap();
    assert_eq!(service.asked(), 4);

    assert_eq!(fetcher.collateral_for(&quote()).await.unwrap(), collateral);
    assert_eq!(service.asked(), 4, "it is known");

    // Another process finds the file, and needs no service.
    let file = directory.path().join("00A06F050000-platform.json");
    let kept = Collateral::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept, *collateral);
    let offline = CollateralService::new(Pcs::cache("http://127.0.0.1:1"), tls(), clock, roots())
        .with_cache(directory.path().to_owned());
    assert_eq!(offline.collateral_for(&quote()).await.unwrap(), collateral);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_broken_file_is_fetched_anew() {
    let (service, (clock, _)) = (Service::start(), clock());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("00A06F050000-platform.json"), b"{").unwrap();
    let fetcher = CollateralService::new(Pcs::cache(&service.address), tls(), clock, roots())
        .with_cache(directory.path().to_owned());
    fetcher.collateral_for(&quote()).await.unwrap();
    assert_eq!(service.asked(), 4);
}

#[tokio::test]
async fn what_is_old_is_refreshed_and_outlives_a_failing_service() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let fetcher = CollateralService::new(Pcs::cache(&service.address), tls(), clock, roots());
    fetcher.collateral_for(&quote()).await.unwrap();
    fetcher.refresh().await;
    assert_eq!(service.asked(), 4, "it is new");

    hands.fetch_add(24 * 60 * 60, Ordering::SeqCst);
    service.will(Answer::Status(404));
    fetcher.refresh().await;
    assert_eq!(service.asked(), 5);
    fetcher.collateral_for(&quote()).await.unwrap();
    assert_eq!(service.asked(), 5, "what is known is still valid");

    service.will(Answer::Right);
    fetcher.refresh().await;
    assert_eq!(service.asked(), 9);
    fetcher.refresh().await;
    assert_eq!(service.asked(), 9, "it is new again");
}

#[tokio::test]
async fn a_failing_service_is_left_alone_for_a_minute() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let fetcher = CollateralService::new(Pcs::cache(&service.address), tls(), clock, roots());
    for answer in [Answer::Status(404), Answer::Garbage] {
        service.will(answer);
        let before = service.asked();
        let error = fetcher.collateral_for(&quote()).await.unwrap_err();
        assert!(matches!(error, FetchError::Service { .. }), "{error:?}");
        let asked = service.asked();
        assert!(asked > before);
        let error = fetcher.collateral_for(&quote()).await.unwrap_err();
        assert!(matches!(error, FetchError::Pausing { .. }), "{error:?}");
        assert_eq!(service.asked(), asked);
        hands.fetch_add(60, Ordering::SeqCst);
    }
    service.will(Answer::Right);
    fetcher.collateral_for(&quote()).await.unwrap();
}

#[tokio::test]
async fn a_flood_is_refused() {
    let (service, (clock, _)) = (Service::start(), clock());
    service.will(Answer::TooLarge);
    let fetcher = CollateralService::new(Pcs::cache(&service.address), tls(), clock, roots());
    let error = fetcher.collateral_for(&quote()).await.unwrap_err();
    let FetchError::Service { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*source, PcsError::Http { .. }), "{source:?}");
    assert_eq!(service.asked(), 3, "tried again, in vain");
}

#[tokio::test]
async fn strangers_cannot_make_us_ask() {
    let (service, (clock, _)) = (Service::start(), clock());
    let pinned = TrustRoots::pinned();
    let fetcher = CollateralService::new(Pcs::cache(&service.address), tls(), clock, pinned);
    let error = fetcher.collateral_for(&quote()).await.unwrap_err();
    assert!(matches!(error, FetchError::Platform(_)), "{error:?}");
    let error = fetcher.collateral_for(b"no quote").await.unwrap_err();
    assert!(matches!(error, FetchError::Platform(_)), "{error:?}");
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn many_who_ask_at_once_ask_the_service_once() {
    let (service, (clock, _)) = (Service::start(), clock());
    let fetcher = Arc::new(CollateralService::new(
        Pcs::cache(&service.address),
        tls(),
        clock,
        roots(),
    ));
    let quote = Arc::new(quote());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (fetcher, quote) = (fetcher.clone(), quote.clone());
            tokio::spawn(async move { fetcher.collateral_for(&quote).await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(service.asked(), 4);
}

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_file_of_another_process_is_enough_for_a_day_and_then_only_in_need() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let directory = tempfile::tempdir().unwrap();
    let process = || service.fetcher(&clock).with_cache(directory.path().into());
    let first = process().fetched_for(&quote()).await.unwrap();
    assert_eq!((first.at, first.is_from_file), (NOW, false));
    assert_eq!(service.asked(), 4);

    hands.store(NOW + DAY - 1, Ordering::SeqCst);
    let young = process().fetched_for(&quote()).await.unwrap();
    assert_eq!((young.at, young.is_from_file), (NOW, true));
    assert_eq!(service.asked(), 4, "the file is young");

    hands.store(NOW + DAY, Ordering::SeqCst);
    service.will(Answer::Status(404));
    let away = process();
    for _ in 0..2 {
        let old = away.fetched_for(&quote()).await.unwrap();
        assert_eq!((old.at, old.is_from_file), (NOW, true));
        assert_eq!(old.collateral, first.collateral);
        assert_eq!(service.asked(), 5, "the service is asked first, and once");
    }

    service.will(Answer::Right);
    let new = process().fetched_for(&quote()).await.unwrap();
    assert_eq!((new.at, new.is_from_file), (NOW + DAY, false));
    assert_eq!(service.asked(), 9);
    let young = process().fetched_for(&quote()).await.unwrap();
    assert_eq!((young.at, young.is_from_file), (NOW + DAY, true));
    assert_eq!(service.asked(), 9, "the file is young again");

    // Nobody knows how old a file from the future is.
    hands.store(NOW, Ordering::SeqCst);
    process().fetched_for(&quote()).await.unwrap();
    assert_eq!(service.asked(), 13);
}

#[tokio::test]
async fn what_is_old_is_fetched_anew_also_where_nobody_refreshes() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let fetcher = service.fetcher(&clock);
    fetcher.collateral_for(&quote()).await.unwrap();
    hands.fetch_add(DAY, Ordering::SeqCst);
    let old = fetcher.fetched_for(&quote()).await.unwrap();
    assert_eq!(old.at, NOW, "what is known is said at once");
    let limit = tokio::time::Instant::now() + Duration::from_secs(30);
    while fetcher.fetched_for(&quote()).await.unwrap().at != NOW + DAY {
        assert!(tokio::time::Instant::now() < limit);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(service.asked(), 8);
}

#[tokio::test]
async fn only_what_there_was_and_what_is_wanted_is_refreshed() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let fetcher = service.fetcher(&clock);
    service.will(Answer::Status(404));
    fetcher.collateral_for(&quote()).await.unwrap_err();
    assert_eq!(service.asked(), 1);
    for _ in 0..3 {
        hands.fetch_add(60, Ordering::SeqCst);
        fetcher.refresh().await;
    }
    assert_eq!(service.asked(), 1, "there was nothing");

    service.will(Answer::Right);
    fetcher.collateral_for(&quote()).await.unwrap();
    assert_eq!(service.asked(), 5);
    hands.fetch_add(7 * DAY, Ordering::SeqCst);
    fetcher.refresh().await;
    assert_eq!(service.asked(), 9);
    hands.fetch_add(DAY, Ordering::SeqCst);
    fetcher.refresh().await;
    assert_eq!(service.asked(), 9, "nobody has asked for eight days");
}

#[tokio::test]
async fn what_is_known_is_not_rolled_back() {
    let (service, (clock, hands)) = (Service::start(), clock());
    let directory = tempfile::tempdir().unwrap();
    let process = || service.fetcher(&clock).with_cache(directory.path().into());
    let running = service.fetcher(&clock);
    service.judges_at(NOW);
    let new = process().collateral_for(&quote()).await.unwrap();
    assert_eq!(running.collateral_for(&quote()).await.unwrap(), new);

    // Valid, genuine, and an hour older.
    service.judges_at(NOW - 3600);
    service
        .fetcher(&clock)
        .collateral_for(&quote())
        .await
        .unwrap();
    hands.fetch_add(DAY, Ordering::SeqCst);
    let asked = service.asked();
    running.refresh().await;
    assert_eq!(service.asked(), asked + 4);
    let known = running.fetched_for(&quote()).await.unwrap();
    assert_eq!((known.collateral, known.at), (new.clone(), NOW));
    let known = process().fetched_for(&quote()).await.unwrap();
    assert_eq!((&known.collateral, known.at), (&new, NOW));
    assert!(known.is_from_file);

    service.judges_at(NOW + 3600);
    let newer = process().fetched_for(&quote()).await.unwrap();
    assert!(newer.collateral != new && !newer.is_from_file);
    running.refresh().await;
    assert_eq!(
        running.collateral_for(&quote()).await.unwrap(),
        newer.collateral
    );
}
