//! Many at once: the limits hold, and whoever keeps to them is served.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use attestation::tls::limits::{Bounds, Rate};
use attestation::tls::{Acceptor, Dial, HandshakeError, Nobody};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::node::{Authority, NAME, client, settings, wide};
use crate::parties::{TestAttester, TestVerifier};

/// A TPM's time for a quote.
const QUOTE: Duration = Duration::from_millis(50);

fn attester() -> TestAttester {
    let mut attester = TestAttester::new(1);
    attester.takes = QUOTE;
    attester.size = 14_000;
    attester
}

fn server(attester: &TestAttester, bounds: Bounds) -> Arc<Acceptor<TestAttester, Nobody>> {
    let identity = Authority::new().identity(NAME);
    let mut settings = settings(identity, Some(attester.clone()), None);
    settings.bounds = bounds;
    settings.timeouts.turn = Duration::from_secs(60);
    Arc::new(Acceptor::new(settings).unwrap())
}

fn address(group: u8, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, group, high, low))
}

/// One honest client. Returns what it got, and when.
async fn visit(
    server: Arc<Acceptor<TestAttester, Nobody>>,
    attester: TestAttester,
    from: IpAddr,
    is_ratls: bool,
) -> Result<Instant, HandshakeError> {
    let verifier = TestVerifier::of(&attester);
    let dial = match is_ratls {
        true => Dial::Ratls(verifier),
        false => Dial::Atls(verifier),
    };
    let connector = client(dial, None::<Nobody>);
    let (near, far) = duplex(1 << 16);
    let now = UnixTime::now();
    let (accepted, connected) =
        tokio::join!(server.accept(near, from, now), connector.connect(far, now));
    accepted?;
    assert!(connected?.peer.is_some());
    Ok(Instant::now())
}

#[tokio::test(start_paused = true)]
async fn hundreds_at_once_are_all_served_one_quote_after_the_other() {
    let attester = attester();
    let server = server(
        &attester,
        Bounds {
            handshakes: 512,
            evidence_at_once: 1,
            ..wide()
        },
    );
    let mut visits = JoinSet::new();
    for number in 0..400 {
        let from = address(0, number);
        let is_ratls = number % 2 == 1;
        visits.spawn(visit(Arc::clone(&server), attester.clone(), from, is_ratls));
    }
    while let Some(visit) = visits.join_next().await {
        visit.unwrap().unwrap();
    }
    assert_eq!(attester.made(), (400, 1));
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_evidence_holds() {
    let attester = attester();
    let rate = Rate::new(NonZeroU32::new(10).unwrap(), 5);
    let server = server(
        &attester,
        Bounds {
            evidence: rate,
            ..wide()
        },
    );
    let start = Instant::now();
    let mut visits = JoinSet::new();
    for number in 0..100 {
        visits.spawn(visit(
            Arc::clone(&server),
            attester.clone(),
            address(0, number),
            false,
        ));
    }
    let mut served = Vec::new();
    while let Some(visit) = visits.join_next().await {
        served.push(visit.unwrap().unwrap() - start);
    }
    served.sort();
    for (number, at) in served.iter().enumerate() {
        let least = Duration::from_millis(100) * u32::try_from(number.saturating_sub(4)).unwrap();
        assert!(*at >= least, "number {number} was served after {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sixteen_slowloris_addresses_keep_nobody_out() {
    let attester = attester();
    let bounds = Bounds {
        handshakes: 256,
        handshakes_per_peer: 16,
        evidence_at_once: 1,
        ..wide()
    };
    let server = server(&attester, bounds);
    // Each attacker opens as many as it can, says one byte a second, and comes back when it is
    // thrown out.
    let mut attackers = JoinSet::new();
    for number in 0..16 * 32 {
        let server = Arc::clone(&server);
        attackers.spawn(async move {
            loop {
                let (near, mut far) = duplex(1 << 12);
                let drip = tokio::spawn(async move {
                    for byte in [22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc] {
                        if far.write_all(&[byte]).await.is_err() {
                            return;
                        }
                        sleep(Duration::from_secs(1)).await;
                    }
                });
                let from = address(1, number % 16);
                let result = server.accept(near, from, UnixTime::now()).await;
                assert!(result.is_err());
                drip.abort();
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    sleep(Duration::from_secs(3)).await;
    let mut visits = JoinSet::new();
    for number in 0..150 {
        let visit = visit(
            Arc::clone(&server),
            attester.clone(),
            address(0, number),
            false,
        );
        visits.spawn(visit);
    }
    while let Some(visit) = visits.join_next().await {
        visit.unwrap().unwrap();
    }
    assert_eq!(attester.made(), (150, 1));
    attackers.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_address_that_asks_for_everything_delays_nobody_else() {
    let attester = attester();
    let bounds = Bounds {
        evidence_at_once: 1,
        ..wide()
    };
    let server = server(&attester, bounds);
    let start = Instant::now();
    let mut greedy = JoinSet::new();
    for _ in 0..200 {
        let visit = visit(Arc::clone(&server), attester.clone(), address(1, 1), false);
        greedy.spawn(visit);
    }
    sleep(QUOTE * 2).await;
    let one = visit(Arc::clone(&server), attester.clone(), address(0, 1), false);
    let served = one.await.unwrap() - start;
    assert!(served < QUOTE * 6, "served after {served:?}");
    while let Some(visit) = greedy.join_next().await {
        visit.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limits_a_client_hears_so_at_once() {
    let attester = attester();
    let bounds = Bounds {
        handshakes: 64,
        handshakes_per_peer: 4,
        ..wide()
    };
    let server = server(&attester, bounds);
    let mut visits = JoinSet::new();
    for _ in 0..10 {
        visits.spawn(visit(
            Arc::clone(&server),
            attester.clone(),
            address(0, 1),
            false,
        ));
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(visit) = visits.join_next().await {
        match visit.unwrap() {
            Ok(_) => served += 1,
            Err(HandshakeError::Full(full)) => {
                assert_eq!(
                    full.to_string(),
                    "4 handshakes of this peer are under way, the most there may be"
                );
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((served, refused), (4, 6));
}
