use proptest::prelude::*;

use super::*;

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(NonZeroU32::new(per_second).unwrap(), burst)
}

fn bounds() -> Bounds {
    Bounds {
        handshakes: 256,
        handshakes_per_peer: 16,
        patience: Duration::from_secs(2),
        evidence_at_once: 1,
        evidence: rate(20, 40),
        evidence_per_peer: rate(4, 16),
    }
}

fn ip(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

fn admit(limits: &mut Limits, number: u32, now: Instant) -> Option<(Place, Option<Place>)> {
    match limits.admit(ip(number), now) {
        Admission::Admitted { place, evicted } => Some((place, evicted)),
        Admission::Refused(_) => None,
    }
}

/// Takes all that is there as `peers` addresses can, each as much as it may.
fn fill(limits: &mut Limits, peers: u32, now: Instant) -> Vec<Place> {
    let mut places = Vec::new();
    for peer in 0..peers {
        while let Some((place, None)) = admit(limits, peer, now) {
            places.push(place);
        }
    }
    places
}

#[test]
fn one_peer_gets_its_share_and_no_more() {
    let now = Instant::now();
    let mut limits = Limits::new(bounds());
    assert_eq!(fill(&mut limits, 1, now).len(), 16);
    let refused = Admission::Refused(Full::Peer(16));
    assert_eq!(limits.admit(ip(0), now), refused);
    assert!(admit(&mut limits, 1, now).is_some());
}

#[test]
fn sixteen_addresses_cannot_keep_others_out() {
    let now = Instant::now();
    let mut limits = Limits::new(bounds());
    assert_eq!(fill(&mut limits, 16, now).len(), 256);
    // Sixteen others come, and both groups end with half of the places.
    for newcomer in 100..116 {
        for _ in 0..8 {
            let (_, evicted) = admit(&mut limits, newcomer, now).unwrap();
            assert!(evicted.is_some());
            assert_eq!(limits.open(), 256);
        }
    }
    let refused = Admission::Refused(Full::Server(256));
    for peer in (0..16).chain(100..116) {
        assert_eq!(limits.shares[&Peer::from(ip(peer))].places, 8);
        assert_eq!(limits.admit(ip(peer), now), refused, "it has its share");
    }
    assert!(
        admit(&mut limits, 200, now).is_some(),
        "the next one has none"
    );
}

#[test]
fn among_equals_a_place_goes_to_who_moves() {
    let start = Instant::now();
    let mut limits = Limits::new(bounds());
    let places: Vec<Place> = (0..256)
        .map(|peer| admit(&mut limits, peer, start).unwrap().0)
        .collect();
    let refused = Admission::Refused(Full::Server(256));
    let early = start + Duration::from_millis(1999);
    assert_eq!(limits.admit(ip(1000), early), refused);

    limits.progressed(places[0], early);
    limits.request_turn(places[1], early);
    let late = start + Duration::from_secs(2);
    let (_, evicted) = admit(&mut limits, 1000, late).unwrap();
    assert_eq!(evicted, Some(places[2]), "the others have moved");
}

#[test]
fn a_full_peer_may_replace_what_it_left_half_open() {
    let start = Instant::now();
    let mut limits = Limits::new(bounds());
    let places = fill(&mut limits, 1, start);
    let late = start + Duration::from_secs(2);
    assert_eq!(admit(&mut limits, 0, late).unwrap().1, Some(places[0]));
    assert_eq!(limits.open(), 16);
}

#[test]
fn what_was_released_is_free_and_forgotten() {
    let now = Instant::now();
    let mut limits = Limits::new(bounds());
    for place in fill(&mut limits, 16, now) {
        limits.release(place);
        limits.release(place);
    }
    assert_eq!(limits.open(), 0);
    let (place, _) = admit(&mut limits, 99, now).unwrap();
    assert_eq!(limits.shares.len(), 1);
    limits.release(place);
}

#[test]
fn turns_go_round_the_peers_whatever_each_has_queued() {
    let now = Instant::now();
    let mut limits = Limits::new(bounds());
    let hoard = fill(&mut limits, 2, now);
    for place in &hoard {
        limits.request_turn(*place, now);
    }
    let (late, _) = admit(&mut limits, 7, now).unwrap();
    limits.request_turn(late, now);

    let mut order = Vec::new();
    while let Turn::Start(place) = limits.next_turn(now) {
        assert_eq!(limits.next_turn(now), Turn::Wait(None), "one at a time");
        order.push(place);
        limits.finish_turn(place, now);
    }
    // One of each that came before, then the latecomer, then the rest in pairs.
    assert_eq!(order[..3], [hoard[0], hoard[16], late]);
    assert_eq!(order[3..5], [hoard[1], hoard[17]]);
}

#[test]
fn a_peers_rate_leaves_turns_for_others() {
    let now = Instant::now();
    let mut limits = Limits::new(Bounds {
        evidence_per_peer: rate(4, 2),
        ..bounds()
    });
    for place in fill(&mut limits, 1, now) {
        limits.request_turn(place, now);
    }
    let served = |limits: &mut Limits, now| {
        let mut served = 0;
        loop {
            match limits.next_turn(now) {
                Turn::Start(place) => {
                    served += 1;
                    limits.finish_turn(place, now);
                }
                Turn::Wait(at) => return (served, at),
            }
        }
    };
    let quarter = now + Duration::from_millis(250);
    assert_eq!(served(&mut limits, now), (2, Some(quarter)));
    let (other, _) = admit(&mut limits, 1, now).unwrap();
    limits.request_turn(other, now);
    assert_eq!(limits.next_turn(now), Turn::Start(other));
    limits.finish_turn(other, now);
    assert_eq!(served(&mut limits, quarter).0, 1);
}

#[test]
fn all_together_keep_the_rate() {
    let start = Instant::now();
    let mut limits = Limits::new(Bounds {
        evidence: rate(20, 5),
        ..bounds()
    });
    for place in fill(&mut limits, 16, start) {
        limits.request_turn(place, start);
    }
    let (mut now, mut served) = (start, 0);
    while now < start + Duration::from_secs(3) {
        match limits.next_turn(now) {
            Turn::Start(place) => {
                served += 1;
                limits.finish_turn(place, now);
            }
            Turn::Wait(at) => now = at.unwrap(),
        }
    }
    assert_eq!(served, 5 + 59);
}

#[test]
fn who_leaves_the_queue_or_the_workbench_holds_up_nobody() {
    let now = Instant::now();
    let mut limits = Limits::new(bounds());
    let places = fill(&mut limits, 1, now);
    for place in &places[..3] {
        limits.request_turn(*place, now);
    }
    assert_eq!(limits.next_turn(now), Turn::Start(places[0]));
    limits.release(places[1]);
    limits.release(places[0]);
    assert_eq!(limits.next_turn(now), Turn::Start(places[2]));
    assert_eq!(limits.making, 1);
}

proptest! {
    /// Whatever happens in whatever order: the bounds hold and the books balance.
    #[test]
    fn the_bounds_hold(steps: Vec<(u8, u8, u16)>) {
        let bounds = Bounds { handshakes: 8, handshakes_per_peer: 3, evidence_at_once: 2, ..bounds() };
        let mut limits = Limits::new(bounds);
        let mut now = Instant::now();
        let mut open: Vec<Place> = Vec::new();
        for (what, which, pause) in steps {
            now += Duration::from_millis(pause.into());
            let chosen = open.get(usize::from(which) % open.len().max(1)).copied();
            match (what % 5, chosen) {
                (0 | 1, _) => if let Some((place, evicted)) = admit(&mut limits, (which % 6).into(), now) {
                    open.retain(|place| Some(*place) != evicted);
                    open.push(place);
                },
                (2, Some(place)) => limits.request_turn(place, now),
                (3, Some(place)) => limits.finish_turn(place, now),
                (4, Some(place)) => {
                    limits.release(place);
                    open.retain(|other| *other != place);
                }
                _ => {}
            }
            while let Turn::Start(place) = limits.next_turn(now) {
                prop_assert!(open.contains(&place));
            }
            let count = |condition: fn(WaitsFor) -> bool| {
                limits.places.values().filter(|handshake| condition(handshake.waits_for)).count()
            };
            prop_assert_eq!(limits.open(), open.len());
            prop_assert!(limits.open() <= 8 && limits.making <= 2);
            prop_assert_eq!(count(|waits| waits == WaitsFor::Evidence), limits.making);
            prop_assert_eq!(count(|waits| matches!(waits, WaitsFor::Turn(_))), limits.queue.len());
            prop_assert!(limits.shares.values().all(|share| share.places <= 3));
            let sum: usize = limits.shares.values().map(|share| share.places).sum();
            prop_assert_eq!(sum, limits.open());
        }
    }
}
