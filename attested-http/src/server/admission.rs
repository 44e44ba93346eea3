//! Who may be connected: a bound on all connections, and a fair share of it for each peer.
//!
//! I/O: none.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use attestation::tls::limits::Peer;
use tokio::time::Instant;

use super::activity::Activity;
use super::limits::Limits;

/// Counts connections, and decides who has to go or stay out beyond a bound.
#[derive(Clone)]
pub(super) struct Admission {
    most: usize,
    most_per_peer: usize,
    patience: Duration,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, (Peer, Arc<Activity>)>,
    by_peer: HashMap<Peer, usize>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.connections,
            most_per_peer: limits.connections_per_peer,
            patience: limits.patience,
            open: Arc::default(),
        }
    }

    /// Takes a place for a connection from `address`, which may cost another connection its own,
    /// or `None` if it has to be refused.
    ///
    /// The place is free again when the permit is dropped.
    pub(super) fn admit(&self, address: IpAddr, activity: &Arc<Activity>) -> Option<Permit> {
        let peer = Peer::from(address);
        let mut open = self.lock();
        let own = open.by_peer.get(&peer).copied().unwrap_or(0);
        if own >= self.most_per_peer {
            let victim = open.longest_idle(peer, self.patience)?;
            open.evict(victim);
        } else if open.connections.len() >= self.most {
            let victim = open
                .of_richer(own)
                .or_else(|| open.longest_idle_of_all(self.patience))?;
            open.evict(victim);
        }
        let place = open.next;
        open.next = open.next.wrapping_add(1);
        open.connections.insert(place, (peer, Arc::clone(activity)));
        let count = open.by_peer.entry(peer).or_default();
        *count = count.saturating_add(1);
        Some(Permit {
            admission: self.clone(),
            place,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics between two changes that belong together.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn evict(&mut self, place: u64) {
        if let Some(activity) = self.remove(place) {
            activity.evict();
        }
    }

    fn remove(&mut self, place: u64) -> Option<Arc<Activity>> {
        let (peer, activity) = self.connections.remove(&place)?;
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(activity)
    }

    /// The peer's connection that had no request for longest, if that is long enough.
    fn longest_idle(&self, peer: Peer, patience: Duration) -> Option<u64> {
        let (place, since) = self.idle_longest(peer)?;
        let idle = Instant::now().saturating_duration_since(since);
        (idle >= patience).then_some(place)
    }

    /// Anybody's connection that had no request for longest, if that is long enough. Peers that hold
    /// as much as each other, and do nothing with it, must not keep everybody else out.
    fn longest_idle_of_all(&self, patience: Duration) -> Option<u64> {
        let all = self.connections.iter();
        let idle = all.filter_map(|(place, (_, activity))| Some((*place, activity.idle_since()?)));
        let (place, since) = idle.min_by_key(|(_, since)| *since)?;
        let idle = Instant::now().saturating_duration_since(since);
        (idle >= patience).then_some(place)
    }

    fn idle_longest(&self, peer: Peer) -> Option<(u64, Instant)> {
        self.of(peer)
            .filter_map(|(place, activity)| Some((place, activity.idle_since()?)))
            .min_by_key(|(_, since)| *since)
    }

    /// A connection of the peer that holds most, if that is more than one with `own` connections
    /// would hold after taking it: the longest idle one, or else the oldest.
    fn of_richer(&self, own: usize) -> Option<u64> {
        let (peer, held) = self
            .by_peer
            .iter()
            .max_by_key(|(peer, held)| (**held, **peer))?;
        if *held <= own.saturating_add(1) {
            return None;
        }
        let idle = self.idle_longest(*peer).map(|(place, _)| place);
        idle.or_else(|| self.of(*peer).map(|(place, _)| place).next())
    }

    fn of(&self, peer: Peer) -> impl Iterator<Item = (u64, &Activity)> {
        let all = self.connections.iter();
        all.filter(move |(_, (of, _))| *of == peer)
            .map(|(place, (_, activity))| (*place, &**activity))
    }
}

/// One connection's place.
pub(super) struct Permit {
    admission: Admission,
    place: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Without effect if it was evicted.
        self.admission.lock().remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, connections_per_peer: usize) -> Admission {
        Admission::new(&Limits {
            connections,
            connections_per_peer,
            ..Limits::default()
        })
    }

    fn admit(admission: &Admission, last: u8) -> (Option<Permit>, Arc<Activity>) {
        let activity = Activity::new();
        let permit = admission.admit(IpAddr::from([192, 0, 2, last]), &activity);
        (permit, activity)
    }

    async fn is_evicted(activity: &Activity) -> bool {
        let limit = Duration::from_millis(1);
        tokio::time::timeout(limit, activity.evicted())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_more_makes_place_for_who_holds_less() {
        let admission = admission(3, 3);
        let (_held, first) = admit(&admission, 1);
        let busy = first.request();
        let (_held, second) = admit(&admission, 1);
        let (_held, third) = admit(&admission, 1);
        let (other, other_activity) = admit(&admission, 2);
        assert!(other.is_some());
        assert!(is_evicted(&second).await, "idle longest");
        // 2 of one and 1 of another: a third peer would hold 1, too.
        let (another, _) = admit(&admission, 3);
        assert!(another.is_some());
        assert!(is_evicted(&third).await);
        assert!(!is_evicted(&first).await && !is_evicted(&other_activity).await);
        assert!(admit(&admission, 4).0.is_none(), "all hold as many");
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_beyond_its_share_replaces_what_it_does_not_use() {
        let admission = admission(10, 2);
        let (_held, first) = admit(&admission, 1);
        let (_held, second) = admit(&admission, 1);
        assert!(admit(&admission, 1).0.is_none(), "not idle for long");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let busy = first.request();
        assert!(admit(&admission, 1).0.is_some());
        assert!(is_evicted(&second).await && !is_evicted(&first).await);
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn equals_do_not_keep_others_out_with_what_they_do_not_use() {
        let admission = admission(256, 4);
        let held: Vec<_> = (0..=255).map(|peer| admit(&admission, peer)).collect();
        let newcomer = || admission.admit(IpAddr::from([198, 51, 100, 7]), &Activity::new());
        assert!(newcomer().is_none(), "not idle for long");
        let busy = held[0].1.request();
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(held[1].1.request());
        let admitted = newcomer();
        assert!(admitted.is_some());
        assert!(is_evicted(&held[2].1).await, "idle longest");
        assert!(!is_evicted(&held[0].1).await && !is_evicted(&held[1].1).await);
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_remembered_of_peers_that_left() {
        let admission = admission(3, 2);
        drop(admit(&admission, 1));
        let open = admission.lock();
        assert_eq!((open.connections.len(), open.by_peer.len()), (0, 0));
    }
}
