//! Who may have a request under way: a bound on all, and no peer takes the places that others need.
//!
//! A peer that holds a quarter of the places gets no more of the last quarter, and none before others
//! who wait and hold less.
//!
//! I/O: none but waiting.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attestation::tls::limits::Peer;
use tokio::sync::oneshot;

/// For whom a request is sent: a peer, or the program itself, which has no share to keep to.
pub(super) type User = Option<Peer>;

/// The places of one server's requests.
#[derive(Clone)]
pub(super) struct Places {
    share: usize,
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    held: HashMap<Peer, usize>,
    next: u64,
    /// In the order in which they came.
    waiting: HashMap<User, BTreeMap<u64, oneshot::Sender<Place>>>,
}

/// One request's place, which is free again when this is dropped.
pub(super) struct Place {
    places: Places,
    user: User,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        let state = State {
            free: places,
            held: HashMap::new(),
            next: 0,
            waiting: HashMap::new(),
        };
        Self {
            share: places.checked_div(4).unwrap_or_default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Waits for a place. Whoever stops waiting is forgotten.
    pub(super) async fn take(&self, user: User) -> Place {
        let (waiting, granted) = self.queue(user);
        self.grant();
        let granted = granted.await;
        drop(waiting);
        match granted {
            Ok(place) => place,
            // Nobody but `waiting` takes it out of the queue.
            Err(_) => std::future::pending().await,
        }
    }

    fn queue(&self, user: User) -> (Waiting, oneshot::Receiver<Place>) {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        let ticket = state.next;
        state.next = ticket.wrapping_add(1);
        state.waiting.entry(user).or_default().insert(ticket, grant);
        let waiting = Waiting {
            places: self.clone(),
            user,
            ticket,
        };
        (waiting, granted)
    }

    /// Gives out what there is.
    fn grant(&self) {
        loop {
            let mut state = self.lock();
            let Some((user, grant)) = state.next(self.share) else {
                return;
            };
            state.free = state.free.saturating_sub(1);
            if let Some(peer) = user {
                let held = state.held.entry(peer).or_default();
                *held = held.saturating_add(1);
            }
            drop(state);
            let place = Place {
                places: self.clone(),
                user,
            };
            // From who is gone this moment it comes back at once.
            drop(grant.send(place));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out of the queue who is next: of those who may have a place, who holds least, and of
    /// those, who came first.
    fn next(&mut self, share: usize) -> Option<(User, oneshot::Sender<Place>)> {
        if self.free == 0 {
            return None;
        }
        let held = |user: &User| {
            user.and_then(|peer| self.held.get(&peer))
                .map_or(0, |held| *held)
        };
        let is_scarce = self.free <= share;
        let users = self.waiting.iter();
        let next = users
            .filter_map(|(user, queue)| Some((held(user), *queue.first_key_value()?.0, *user)))
            .filter(|(held, _, user)| user.is_none() || !is_scarce || *held < share);
        let (_, ticket, user) = next.min()?;
        let grant = self.remove(user, ticket)?;
        Some((user, grant))
    }

    fn remove(&mut self, user: User, ticket: u64) -> Option<oneshot::Sender<Place>> {
        let queue = self.waiting.get_mut(&user)?;
        let grant = queue.remove(&ticket);
        if queue.is_empty() {
            self.waiting.remove(&user);
        }
        grant
    }
}

/// Somebody's place in the queue.
struct Waiting {
    places: Places,
    user: User,
    ticket: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Without effect if it was granted.
        let grant = self.places.lock().remove(self.user, self.ticket);
        drop(grant);
    }
}

impl State {
    fn free(&mut self, user: User) {
        self.free = self.free.saturating_add(1);
        let Some(peer) = user else {
            return;
        };
        if let Some(held) = self.held.get_mut(&peer) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&peer);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().free(self.user);
        self.places.grant();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn peer(last: u8) -> User {
        Some(Peer::from(IpAddr::from([192, 0, 2, last])))
    }

    async fn take(places: &Places, user: User) -> Option<Place> {
        timeout(Duration::from_millis(1), places.take(user))
            .await
            .ok()
    }

    async fn take_all(places: &Places, user: User) -> Vec<Place> {
        let mut all = Vec::new();
        while let Some(place) = take(places, user).await {
            all.push(place);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn one_peer_leaves_a_quarter_to_others() {
        let places = Places::new(16);
        let first = take_all(&places, peer(1)).await;
        assert_eq!(first.len(), 12);
        let second = take_all(&places, peer(2)).await;
        assert_eq!(second.len(), 4, "a quarter of all");
        assert!(take(&places, None).await.is_none());
        drop((first, second));
        let state = places.lock();
        assert_eq!(
            (state.free, state.held.len(), state.waiting.len()),
            (16, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_least_is_next() {
        let places = Places::new(8);
        let mut first = take_all(&places, peer(1)).await;
        let _second = take_all(&places, peer(2)).await;
        let mut again = pin!(places.take(peer(1)));
        assert!(timeout(Duration::from_millis(1), &mut again).await.is_err());
        let mut third = pin!(places.take(peer(3)));
        assert!(timeout(Duration::from_millis(1), &mut third).await.is_err());
        drop(first.pop());
        let third = timeout(Duration::from_millis(1), third).await;
        assert!(third.is_ok(), "came later and holds none");
        drop(first);
        assert!(timeout(Duration::from_millis(1), again).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn few_places_are_not_shared_out() {
        for count in 1..4 {
            let places = Places::new(count);
            assert_eq!(take_all(&places, peer(1)).await.len(), count);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_program_itself_may_have_all() {
        let places = Places::new(16);
        assert_eq!(take_all(&places, None).await.len(), 16);
    }
}
