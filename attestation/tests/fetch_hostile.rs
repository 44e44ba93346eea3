//! Collateral from services that are slow, broken, somebody else's or away, and from callers and
//! caches that do not behave. The services are of this process, on the loopback device.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and looks at files"
)]

mod support;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use attestation::fetch::{Clock, CollateralService, FetchError, HttpError, Pcs, PcsError};
use attestation::{Binding, Collateral, Evidence, EvidenceKind, TrustRoots, Verifier};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use testkit::tee::Tee;
use testkit::tee::tcb::TcbFault;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

const NOW: u64 = 1_790_000_000;
const FILE: &str = "00A06F050000-platform.json";

/// The machine that is asked about, and another under another root. Making them takes a while.
static MACHINES: LazyLock<[(Tee, testkit::tee::Collateral); 2]> = LazyLock::new(|| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    [1, 2].map(|seed| {
        let tee = Tee::new(seed, now);
        let collateral = tee.collateral();
        (tee, collateral)
    })
});

/// A machine of another kind under the first one's root.
static NEIGHBOUR: LazyLock<(Tee, testkit::tee::Collateral)> = LazyLock::new(|| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let tee = Tee::with_fault(1, now, TcbFault::AzureV6SeamLoader);
    let collateral = tee.collateral();
    (tee, collateral)
});

static QUOTE: LazyLock<Vec<u8>> = LazyLock::new(|| MACHINES[0].0.dcap_ratls([9; 64]).td_quote);

fn roots() -> TrustRoots {
    TrustRoots::danger_trust_instead(MACHINES[0].0.root().to_vec(), Vec::new())
}

fn quote() -> Vec<u8> {
    QUOTE.clone()
}

fn collateral() -> Collateral {
    Collateral::parse(MACHINES[0].1.to_json().as_bytes()).unwrap()
}

/// How a service answers.
#[derive(Clone)]
enum Answer {
    /// As it must, after this time.
    Right(Duration),
    /// As it must, about the machine of another root.
    OfOtherMachine,
    /// With this status and header, as often, and then as it must.
    Fails(u16, &'static str, usize),
    /// A byte at a time, for ever.
    Drips,
    /// With a header of this size.
    Header(usize),
    /// As it must, to nobody's question for TCB info before somebody else's.
    Together(Arc<Barrier>),
}

struct Service {
    base: String,
    dialed: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Service {
    async fn start(answer: Answer) -> Self {
        Self::start_with(answer, None).await
    }

    async fn start_with(answer: Answer, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Self {
            base: match tls {
                Some(_) => format!("https://localhost:{port}"),
                None => format!("http://127.0.0.1:{port}"),
            },
            dialed: Arc::default(),
            asked: Arc::default(),
            answer: Arc::new(Mutex::new(answer)),
        };
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let (asked, answer) = (service.asked.clone(), service.answer.clone());
        let dialed = service.dialed.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                dialed.fetch_add(1, Ordering::SeqCst);
                let (tls, asked, answer) = (tls.clone(), asked.clone(), answer.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &asked, &answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &asked, &answer).await;
                            }
                        }
                    }
                });
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

    fn fetcher(&self, clock: Clock) -> CollateralService {
        CollateralService::new(Pcs::cache(&self.base), trusting(None), clock, roots())
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    asked: &AtomicUsize,
    answer: &Mutex<Answer>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // TLS where none is spoken: what web servers say then.
        if request.first() == Some(&0x16) {
            let _ = stream.write_all(b"HTTP/1.1 400 X\r\n\r\n").await;
            return;
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap().to_owned();
    let now = answer.lock().unwrap().clone();
    let (status, header, machine) = match now {
        Answer::Right(after) => {
            tokio::time::sleep(after).await;
            (200, String::new(), 0)
        }
        Answer::OfOtherMachine => (200, String::new(), 1),
        Answer::Fails(status, header, times) => {
            *answer.lock().unwrap() = match times {
                0 | 1 => Answer::Right(Duration::ZERO),
                _ => Answer::Fails(status, header, times - 1),
            };
            (status, header.to_owned(), 0)
        }
        Answer::Drips => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n")
                .await;
            while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            return;
        }
        Answer::Together(barrier) => {
            if target.contains("/tcb?") {
                barrier.wait().await;
            }
            (200, String::new(), 0)
        }
        Answer::Header(size) => (200, format!("X-Large: {}\r\n", "x".repeat(size)), 0),
    };
    let response = MACHINES[machine].1.response(&target);
    let response = response.or_else(|| NEIGHBOUR.1.response(&target));
    let (chain, body) = response.map_or((None, Vec::new()), |it| (it.issuer_chain, it.body));
    let chain = chain.map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{header}{}\r\n",
        body.len(),
        chain.unwrap_or_default()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

/// A clock that is set by hand.
fn clock() -> (Clock, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(NOW));
    let hands = time.clone();
    (Arc::new(move || time.load(Ordering::SeqCst)), hands)
}

fn trusting(authority: Option<&Authority>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(authority) = authority {
        roots.add(authority.0.der().clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's settings with a certificate for a name until a year.
    fn server(&self, name: &str, until: i32) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn refusal(fetcher: &CollateralService) -> String {
    chain(&fetcher.collateral_for(&quote()).await.unwrap_err())
}

#[tokio::test]
async fn over_tls_from_both_kinds_of_service() {
    let authority = Authority::new();
    let tls = Some(authority.server("localhost", 2100));
    let service = Service::start_with(Answer::Right(Duration::ZERO), tls).await;
    let crl = format!("{}/IntelSGXRootCA.der", service.base);
    let cache = Pcs::cache(&format!("{}/sgx/certification/v4/", service.base));
    for pcs in [cache, Pcs::mirror(&service.base, &crl)] {
        let before = service.asked();
        let (clock, _) = clock();
        let fetcher = CollateralService::new(pcs, trusting(Some(&authority)), clock, roots());
        let fetched = fetcher.collateral_for(&quote()).await.unwrap();
        assert_eq!(*fetched, collateral());
        let evidence = Evidence::parse_ratls(EvidenceKind::DcapTdx, &quote()).unwrap();
        let binding = Binding::ratls_input_data([9; 64]);
        Verifier::new(roots())
            .verify(&evidence, &fetched, &binding, NOW)
            .unwrap();
        assert_eq!(service.asked(), before + 4);
    }
}

#[tokio::test]
async fn a_service_that_is_somebody_else_is_not_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (server, reason) in [
        (
            authority.server("other.example", 2100),
            "not valid for name",
        ),
        (authority.server("localhost", 2001), "certificate expired"),
        // Of another authority, whose name is the same.
        (other.server("localhost", 2100), "BadSignature"),
    ] {
        let service = Service::start_with(Answer::Right(Duration::ZERO), Some(server)).await;
        let (clock, _) = clock();
        let pcs = Pcs::cache(&service.base);
        let fetcher = CollateralService::new(pcs, trusting(Some(&authority)), clock, roots());
        let error = refusal(&fetcher).await;
        assert!(error.contains(": establish TLS: "), "{error}");
        assert!(error.contains(reason), "{error}, expected {reason}");
        assert_eq!(service.asked(), 0);
        let dialed = service.dialed.load(Ordering::SeqCst);
        assert_eq!(dialed, 1, "once is enough");
    }
    // No TLS at all: that may be a proxy on the way, which may go away.
    let plain = Service::start(Answer::Right(Duration::ZERO)).await;
    let (clock, _) = clock();
    let pcs = Pcs::cache(&plain.base.replace("http://127.0.0.1", "https://localhost"));
    let fetcher = CollateralService::new(pcs, trusting(Some(&authority)), clock, roots());
    let error = refusal(&fetcher).await;
    assert!(error.contains(": establish TLS: "), "{error}");
    assert_eq!(plain.asked(), 0);
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = Service::start(Answer::Right(Duration::ZERO)).await;
    let header = format!("Location: {}/\r\n", elsewhere.base);
    let service = Service::start(Answer::Fails(302, header.leak(), 1)).await;
    let error = refusal(&service.fetcher(clock().0)).await;
    assert!(
        error.ends_with("expected status 200, got 302 Found"),
        "{error}"
    );
    assert_eq!((service.asked(), elsewhere.asked()), (1, 0));
}

#[tokio::test]
async fn an_answer_that_trickles_in_ends_at_the_limit() {
    let service = Service::start(Answer::Drips).await;
    let limit = Duration::from_millis(300);
    let fetcher = service.fetcher(clock().0).with_answer_limit(limit);
    let started = Instant::now();
    let error = refusal(&fetcher).await;
    assert!(error.ends_with(": no answer within 300ms"), "{error}");
    assert_eq!(service.asked(), 3);
    // Three limits, and waits of one and two seconds; on a busy machine some more.
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn large_headers_are_taken_and_huge_ones_refused() {
    let service = Service::start(Answer::Header(20_000)).await;
    service
        .fetcher(clock().0)
        .collateral_for(&quote())
        .await
        .unwrap();
    service.will(Answer::Header(2_000_000));
    let error = refusal(&service.fetcher(clock().0)).await;
    assert!(error.contains(": exchange HTTP messages: "), "{error}");
}

#[tokio::test]
async fn a_busy_service_is_asked_again() {
    for (status, header, wait) in [
        (500, "", 1),
        (503, "Retry-After: 2\r\n", 2),
        (429, "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 1),
    ] {
        let service = Service::start(Answer::Fails(status, header, 1)).await;
        let started = Instant::now();
        let fetcher = service.fetcher(clock().0);
        fetcher.collateral_for(&quote()).await.unwrap();
        assert_eq!(service.asked(), 5, "{status}");
        let waited = started.elapsed();
        assert!(waited >= Duration::from_secs(wait), "{status}: {waited:?}");
    }
}

#[tokio::test]
async fn a_service_that_wants_to_be_left_alone_is() {
    let service = Service::start(Answer::Fails(429, "Retry-After: 600\r\n", 1)).await;
    let (clock, hands) = clock();
    let fetcher = service.fetcher(clock);
    let error = fetcher.collateral_for(&quote()).await.unwrap_err();
    let FetchError::Service { source, .. } = &error else {
        panic!("{error:?}");
    };
    let retry_after = match &**source {
        PcsError::Http {
            source: HttpError::Status { retry_after, .. },
            ..
        } => *retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!((retry_after, service.asked()), (Some(600), 1));
    hands.fetch_add(599, Ordering::SeqCst);
    fetcher.refresh().await;
    let error = refusal(&fetcher).await;
    assert!(
        error.contains("failed 599 s ago, next try in 1 s: get http"),
        "{error}"
    );
    assert!(error.ends_with("got 429 Too Many Requests"), "{error}");
    assert_eq!(service.asked(), 1);
    hands.fetch_add(1, Ordering::SeqCst);
    fetcher.collateral_for(&quote()).await.unwrap();
}

#[tokio::test]
async fn who_gives_up_does_not_take_the_fetching_along() {
    let service = Service::start(Answer::Right(Duration::from_millis(500))).await;
    let fetcher = service.fetcher(clock().0);
    let quote = quote();
    for _ in 0..20 {
        let asking = fetcher.collateral_for(&quote);
        let given_up = tokio::time::timeout(Duration::from_millis(5), asking).await;
        assert!(given_up.is_err());
    }
    fetcher.collateral_for(&quote).await.unwrap();
    assert_eq!(service.asked(), 4, "all waited for the same");
}

#[tokio::test]
async fn all_who_wait_hear_why_there_is_nothing() {
    let service = Service::start(Answer::Fails(404, "", 9)).await;
    let fetcher = Arc::new(service.fetcher(clock().0));
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let fetcher = fetcher.clone();
            tokio::spawn(async move { refusal(&fetcher).await })
        })
        .collect();
    for asking in asking {
        let error = asking.await.unwrap();
        assert!(error.ends_with("got 404 Not Found"), "{error}");
    }
    assert_eq!(service.asked(), 1);
}

#[tokio::test]
async fn what_is_not_genuine_is_neither_kept_nor_asked_for_again() {
    let service = Service::start(Answer::OfOtherMachine).await;
    let directory = tempfile::tempdir().unwrap();
    let fetcher = service
        .fetcher(clock().0)
        .with_cache(directory.path().to_owned());
    let error = refusal(&fetcher).await;
    let expected = "what the service answers is not genuine: the TCB info is not signed by Intel \
        SGX TCB Signing";
    assert!(error.ends_with(expected), "{error}");
    let asked = service.asked();
    assert!(refusal(&fetcher).await.contains("next try in 60 s"));
    assert_eq!(service.asked(), asked);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_service_whose_collateral_is_too_old_is_left_alone() {
    let service = Service::start(Answer::Right(Duration::ZERO)).await;
    let (clock, hands) = clock();
    hands.store(collateral().window().unwrap().until + 1, Ordering::SeqCst);
    let fetcher = service.fetcher(clock);
    let error = refusal(&fetcher).await;
    assert!(
        error.contains("what the service answers cannot be used: the "),
        "{error}"
    );
    assert!(error.contains(" is valid from "), "{error}");
    assert!(refusal(&fetcher).await.contains("next try in 60 s"));
    assert_eq!(service.asked(), 4);
}

#[tokio::test]
async fn what_expires_soon_is_fetched_before() {
    let service = Service::start(Answer::Right(Duration::ZERO)).await;
    let (clock, hands) = clock();
    let until = collateral().window().unwrap().until;
    let fetcher = service.fetcher(clock);
    hands.store(until - 301, Ordering::SeqCst);
    fetcher.collateral_for(&quote()).await.unwrap();
    fetcher.refresh().await;
    assert_eq!(service.asked(), 4);
    hands.store(until - 300, Ordering::SeqCst);
    fetcher.refresh().await;
    assert_eq!(service.asked(), 8);
}

#[tokio::test]
async fn one_platform_does_not_hold_up_the_refreshing_of_another() {
    let service = Service::start(Answer::Right(Duration::ZERO)).await;
    let (clock, hands) = clock();
    let fetcher = service.fetcher(clock);
    let quotes = [quote(), NEIGHBOUR.0.dcap_ratls([9; 64]).td_quote];
    let [first, other] = &quotes;
    let first = fetcher.collateral_for(first).await.unwrap();
    assert_ne!(fetcher.collateral_for(other).await.unwrap(), first);
    let later = hands.fetch_add(24 * 60 * 60, Ordering::SeqCst) + 24 * 60 * 60;
    service.will(Answer::Together(Arc::new(Barrier::new(2))));
    fetcher.refresh().await;
    for quote in &quotes {
        assert_eq!(fetcher.fetched_for(quote).await.unwrap().at, later);
    }
    assert_eq!(service.asked(), 16);
}

#[tokio::test]
async fn a_cache_answers_while_its_files_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE), collateral().to_json()).unwrap();
    let (clock, hands) = clock();
    let away = || {
        CollateralService::new(
            Pcs::cache("http://127.0.0.1:1"),
            trusting(None),
            clock.clone(),
            roots(),
        )
        .with_cache(directory.path().to_owned())
    };
    away().collateral_for(&quote()).await.unwrap();

    hands.store(collateral().window().unwrap().until + 1, Ordering::SeqCst);
    let error = refusal(&away()).await;
    assert!(error.contains(": connect: "), "{error}");
}

#[tokio::test]
async fn a_cache_that_is_no_use_is_replaced() {
    let good = collateral().to_json();
    let altered = |member: &str| {
        let mut json: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let text = json[member].as_str().unwrap();
        let last = text.len() - 1;
        let other = if text.ends_with('0') { "1" } else { "0" };
        json[member] = format!("{}{other}", &text[..last]).into();
        serde_json::to_vec(&json).unwrap()
    };
    let mut broken = vec![
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        vec![b' '; 5 << 20],
        MACHINES[1].1.to_json().into_bytes(),
    ];
    for member in [
        "tcb_info_signature",
        "qe_identity_signature",
        "pck_crl",
        "root_ca_crl",
    ] {
        broken.push(altered(member));
    }
    for (number, bytes) in broken.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        std::fs::write(&file, bytes).unwrap();
        let service = Service::start(Answer::Right(Duration::ZERO)).await;
        let fetcher = service
            .fetcher(clock().0)
            .with_cache(directory.path().to_owned());
        let fetched = fetcher.collateral_for(&quote()).await.unwrap();
        assert_eq!(*fetched, collateral(), "{number}");
        assert_eq!(service.asked(), 4, "{number}");
        assert_eq!(std::fs::read(&file).unwrap(), good, "{number}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = tempfile::tempdir().unwrap();
    std::fs::create_dir(occupied.path().join(FILE)).unwrap();
    // Nobody can make files in the first, not even root.
    for cache in [
        PathBuf::from("/proc"),
        directory.path().join("missing"),
        occupied.path().to_owned(),
    ] {
        let service = Service::start(Answer::Right(Duration::ZERO)).await;
        let fetcher = service.fetcher(clock().0).with_cache(cache);
        fetcher.collateral_for(&quote()).await.unwrap();
        fetcher.collateral_for(&quote()).await.unwrap();
        assert_eq!(service.asked(), 4);
    }
}

#[tokio::test]
async fn what_intel_has_signed_is_genuine() {
    for capture in [support::dcap(), support::dcap_outdated(), support::azure()] {
        let Some(capture) = capture else {
            return;
        };
        let evidence = capture.evidence();
        let platform = attestation::collateral::PlatformKey::of(evidence.td_quote()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(format!("{platform}.json"));
        std::fs::write(&file, capture.collateral.to_json()).unwrap();
        let away = Pcs::cache("http://127.0.0.1:1");
        let clock: Clock = Arc::new(move || capture.now);
        let pinned = TrustRoots::pinned();
        let fetcher = CollateralService::new(away, trusting(None), clock, pinned)
            .with_cache(directory.path().to_owned());
        let kept = fetcher.collateral_for(evidence.td_quote()).await.unwrap();
        assert_eq!(*kept, capture.collateral, "{platform}");
    }
}
