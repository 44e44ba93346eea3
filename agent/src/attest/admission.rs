//! Who may connect: a bound on all connections, and a fair share of it for each peer.
//!
//! I/O: none.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::Limits;

/// Counts connections and refuses those beyond a bound.
#[derive(Clone)]
pub(super) struct Admission {
    most: usize,
    most_per_peer: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<Peer, usize>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.connections,
            most_per_peer: limits.connections_per_peer,
            open: Arc::default(),
        }
    }

    /// Takes a place for a connection from `address`, or `None` if it has to be refused.
    ///
    /// The place is free again when the permit is dropped.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Permit> {
        let peer = Peer::from(address);
        let mut open = self.lock();
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or(0);
        if open.all >= self.most || of_peer >= self.most_per_peer {
            return None;
        }
        open.all += 1;
        open.by_peer.insert(peer, of_peer + 1);
        Some(Permit {
            admission: self.clone(),
            peer,
        })
    }

    fn release(&self, peer: Peer) {
        let mut open = self.lock();
        open.all -= 1;
        if let Some(of_peer) = open.by_peer.get_mut(&peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.by_peer.remove(&peer);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics between two writes to the counters, so they are consistent even then.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place.
pub(super) struct Permit {
    admission: Admission,
    peer: Peer,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release(self.peer);
    }
}

/// The unit in which address space is handed to one party: an IPv4 address, an IPv6 /64.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Peer {
    V4(Ipv4Addr),
    /// The upper 64 bits.
    V6(u64),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        // A wildcard IPv6 socket shows IPv4 peers as ::ffff:a.b.c.d, all in one /64.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_peer_gets_its_share_and_others_theirs() {
        let admission = admission(3, 2);
        let first = admission.admit(ip("192.0.2.1"));
        let second = admission.admit(ip("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(ip("192.0.2.1")).is_none());
        let other = admission.admit(ip("192.0.2.2"));
        assert!(other.is_some());
        assert!(
            admission.admit(ip("192.0.2.3")).is_none(),
            "all places are taken"
        );
        drop(first);
        assert!(admission.admit(ip("192.0.2.3")).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_peers_that_left() {
        let admission = admission(3, 2);
        drop(admission.admit(ip("192.0.2.1")));
        let open = admission.lock();
        assert_eq!((open.all, open.by_peer.len()), (0, 0));
    }

    #[test]
    fn peers_are_addresses_in_ipv4_and_networks_in_ipv6() {
        let peer = |text| Peer::from(ip(text));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
