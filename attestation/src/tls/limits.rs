//! Who may take how much of a server that anybody can reach.
//!
//! A handshake holds memory and a file descriptor while the peer takes its time; evidence costs
//! a quote, of which a TPM makes some twenty a second, one after the other. So handshakes have
//! places, and evidence has turns:
//!
//! - A *place* is there for each handshake up to a bound, and up to a smaller bound for each peer.
//!   When all are taken, a newcomer gets the place of a peer that holds more than the newcomer
//!   would; among equals it gets a place whose holder has kept us waiting for some time.
//! - A *turn* is given to one waiting peer after the other, however many handshakes each of them
//!   has in the queue (start-time fair queueing), at no more than a rate for each peer and for
//!   all together.
//!
//! So whoever holds sixteen addresses gets sixteen shares, and the seventeenth gets its own.
//!
//! I/O: none; the time is an argument.

mod pace;
mod peer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use self::pace::Pace;
pub use self::pace::Rate;
pub use self::peer::Peer;

/// The bounds that [`Limits`] keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Handshakes at the same time.
    pub handshakes: usize,
    /// Handshakes of one [`Peer`] at the same time.
    pub handshakes_per_peer: usize,
    /// How long a peer may keep us waiting before its place may be given to somebody else, if
    /// there is no free one. Three round trips on a bad line take two seconds.
    pub patience: Duration,
    /// How many pieces of evidence are made at the same time.
    pub evidence_at_once: usize,
    /// Evidence for all together.
    pub evidence: Rate,
    /// Evidence for one [`Peer`].
    pub evidence_per_peer: Rate,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_per_peer: 16,
            patience: Duration::from_secs(2),
            // A TPM does one thing at a time; a second request would only wait inside the driver,
            // out of reach of the order that is kept here.
            evidence_at_once: 1,
            evidence: Rate::new(NonZeroU32::MIN.saturating_add(19), 40),
            evidence_per_peer: Rate::new(NonZeroU32::MIN.saturating_add(3), 16),
        }
    }
}

/// One handshake's place, from [`Limits::admit`] to [`Limits::release`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place(u64);

/// What [`Limits::admit`] decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// The handshake may begin. Its place was taken from `evicted`, if that is there, whose
    /// handshake must end now and which must not be released again.
    Admitted {
        /// The newcomer's place.
        place: Place,
        /// Who had to go for it.
        evicted: Option<Place>,
    },
    /// No place.
    Refused(Full),
}

/// Which bound was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Full {
    /// [`Bounds::handshakes`].
    #[error("{0} handshakes are under way, the most there may be")]
    Server(usize),
    /// [`Bounds::handshakes_per_peer`].
    #[error("{0} handshakes of this peer are under way, the most there may be")]
    Peer(usize),
}

/// What [`Limits::next_turn`] decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Make evidence for this one now; ask again.
    Start(Place),
    /// Nobody's turn before this time. `None`: not before something else happens.
    Wait(Option<Instant>),
}

/// Keeps [`Bounds`]. Remembers nobody who has neither a place nor a recent turn.
#[derive(Debug)]
pub struct Limits {
    bounds: Bounds,
    next_place: u64,
    places: BTreeMap<Place, Handshake>,
    shares: HashMap<Peer, Share>,
    /// Who waits for a turn, by virtual start time.
    queue: BTreeSet<(u64, Place)>,
    /// Virtual start time of the latest turn.
    virtual_time: u64,
    making: usize,
    pace: Pace,
}

#[derive(Debug)]
struct Handshake {
    peer: Peer,
    /// Since when nothing has moved.
    since: Instant,
    waits_for: WaitsFor,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WaitsFor {
    Peer,
    /// A turn, with this virtual start time.
    Turn(u64),
    Evidence,
}

/// What one peer holds.
#[derive(Debug, Default)]
struct Share {
    places: usize,
    /// Virtual time up to which its turns are spoken for.
    spoken_for: u64,
    pace: Pace,
}

impl Limits {
    /// Nothing is taken.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next_place: 0,
            places: BTreeMap::new(),
            shares: HashMap::new(),
            queue: BTreeSet::new(),
            virtual_time: 0,
            making: 0,
            pace: Pace::default(),
        }
    }

    /// Finds a place for a handshake with `address`.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        self.forget(now);
        let peer = Peer::from(address);
        let own = self.shares.get(&peer).map_or(0, |share| share.places);

        let victim = if own >= self.bounds.handshakes_per_peer {
            match self.stalled(now, Some(peer)) {
                Some(victim) => Some(victim),
                None => return Admission::Refused(Full::Peer(own)),
            }
        } else if self.places.len() >= self.bounds.handshakes {
            match self.richer(own).or_else(|| self.stalled(now, None)) {
                Some(victim) => Some(victim),
                None => return Admission::Refused(Full::Server(self.places.len())),
            }
        } else {
            None
        };
        if let Some(victim) = victim {
            self.release(victim);
        }

        let place = Place(self.next_place);
        self.next_place = self.next_place.wrapping_add(1);
        let handshake = Handshake {
            peer,
            since: now,
            waits_for: WaitsFor::Peer,
        };
        self.places.insert(place, handshake);
        let share = self.shares.entry(peer).or_default();
        share.places = share.places.saturating_add(1);
        Admission::Admitted {
            place,
            evicted: victim,
        }
    }

    /// Ends a handshake, whatever it was waiting for. Without effect if it was evicted.
    pub fn release(&mut self, place: Place) {
        let Some(handshake) = self.places.remove(&place) else {
            return;
        };
        match handshake.waits_for {
            WaitsFor::Peer => {}
            WaitsFor::Turn(start) => drop(self.queue.remove(&(start, place))),
            WaitsFor::Evidence => self.making = self.making.saturating_sub(1),
        }
        if let Some(share) = self.shares.get_mut(&handshake.peer) {
            share.places = share.places.saturating_sub(1);
        }
    }

    /// Notes that the peer has done its part, so that waiting starts anew.
    pub fn progressed(&mut self, place: Place, now: Instant) {
        if let Some(handshake) = self.places.get_mut(&place) {
            handshake.since = now;
        }
    }

    /// Queues for a turn to make evidence.
    pub fn request_turn(&mut self, place: Place, now: Instant) {
        let Some(handshake) = self.places.get_mut(&place) else {
            return;
        };
        if handshake.waits_for != WaitsFor::Peer {
            return;
        }
        let share = self.shares.entry(handshake.peer).or_default();
        let start = share.spoken_for.max(self.virtual_time);
        share.spoken_for = start.saturating_add(1);
        handshake.waits_for = WaitsFor::Turn(start);
        handshake.since = now;
        self.queue.insert((start, place));
    }

    /// Whose turn it is. To be asked until it says [`Turn::Wait`], after each
    /// [`request_turn`](Self::request_turn), [`finish_turn`](Self::finish_turn) and
    /// [`release`](Self::release), and when the time has come.
    pub fn next_turn(&mut self, now: Instant) -> Turn {
        if self.making >= self.bounds.evidence_at_once || self.queue.is_empty() {
            return Turn::Wait(None);
        }
        if let Some(at) = self.pace.not_before(self.bounds.evidence, now) {
            return Turn::Wait(Some(at));
        }
        let mut earliest = None;
        for &(start, place) in &self.queue {
            let Some(handshake) = self.places.get_mut(&place) else {
                continue;
            };
            let share = self.shares.entry(handshake.peer).or_default();
            if let Some(at) = share.pace.not_before(self.bounds.evidence_per_peer, now) {
                earliest = Some(earliest.map_or(at, |earliest: Instant| earliest.min(at)));
                continue;
            }
            share.pace.take(self.bounds.evidence_per_peer, now);
            self.pace.take(self.bounds.evidence, now);
            handshake.waits_for = WaitsFor::Evidence;
            handshake.since = now;
            self.queue.remove(&(start, place));
            self.virtual_time = self.virtual_time.max(start);
            self.making = self.making.saturating_add(1);
            return Turn::Start(place);
        }
        Turn::Wait(earliest)
    }

    /// Evidence is made, or could not be; now it waits for its peer again.
    pub fn finish_turn(&mut self, place: Place, now: Instant) {
        if let Some(handshake) = self.places.get_mut(&place)
            && handshake.waits_for == WaitsFor::Evidence
        {
            handshake.waits_for = WaitsFor::Peer;
            handshake.since = now;
            self.making = self.making.saturating_sub(1);
        }
    }

    /// Handshakes under way.
    pub fn open(&self) -> usize {
        self.places.len()
    }

    /// The longest-waiting place of the peer that holds most, if that is more than one with
    /// `own` places would hold after taking it.
    fn richer(&self, own: usize) -> Option<Place> {
        let shares = self.shares.iter();
        let (peer, share) = shares.max_by_key(|(peer, share)| (share.places, **peer))?;
        if share.places <= own.saturating_add(1) {
            return None;
        }
        // Who waits for its peer has less to lose than who waits for us; what is being made for
        // somebody is not thrown away.
        self.longest_waiting(|handshake| {
            handshake.peer == *peer && handshake.waits_for == WaitsFor::Peer
        })
        .or_else(|| {
            self.longest_waiting(|handshake| {
                handshake.peer == *peer && handshake.waits_for != WaitsFor::Evidence
            })
        })
        .map(|(place, _)| place)
    }

    /// The longest-waiting place whose peer has kept us waiting for too long.
    fn stalled(&self, now: Instant, of: Option<Peer>) -> Option<Place> {
        let (place, handshake) = self.longest_waiting(|handshake| {
            handshake.waits_for == WaitsFor::Peer && of.is_none_or(|peer| handshake.peer == peer)
        })?;
        let waited = now.saturating_duration_since(handshake.since);
        (waited >= self.bounds.patience).then_some(place)
    }

    fn longest_waiting(
        &self,
        condition: impl Fn(&Handshake) -> bool,
    ) -> Option<(Place, &Handshake)> {
        self.places
            .iter()
            .filter(|(_, handshake)| condition(handshake))
            .min_by_key(|(_, handshake)| handshake.since)
            .map(|(place, handshake)| (*place, handshake))
    }

    /// Drops peers that hold nothing and had no turn lately. Those that stay are bounded by the
    /// places and by the rate of turns.
    fn forget(&mut self, now: Instant) {
        self.shares
            .retain(|_, share| share.places > 0 || share.pace.is_behind(now));
    }
}

#[cfg(test)]
mod tests;
