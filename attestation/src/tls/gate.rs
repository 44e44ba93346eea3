//! [`Limits`] for tasks: places that free themselves, and turns that can be waited for.
//!
//! I/O: none but waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::limits::{Admission, Bounds, Full, Limits, Place, Turn};

/// Shared by all connections of a server.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
    /// When a turn may be due without anything else happening.
    due: Arc<watch::Sender<Option<Instant>>>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    turns: HashMap<Place, oneshot::Sender<()>>,
    evictions: HashMap<Place, oneshot::Sender<()>>,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State {
            limits: Limits::new(bounds),
            turns: HashMap::new(),
            evictions: HashMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            due: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Takes a place for a handshake, which may cost another handshake its own.
    pub(super) fn enter(&self, address: IpAddr) -> Result<(Permit, Evicted), Full> {
        let mut state = self.lock();
        let now = Instant::now().into_std();
        match state.limits.admit(address, now) {
            Admission::Refused(full) => Err(full),
            Admission::Admitted { place, evicted } => {
                if let Some(sender) = evicted.and_then(|place| state.evictions.remove(&place)) {
                    // Failing means that it has just ended by itself.
                    let _ = sender.send(());
                }
                let (sender, receiver) = oneshot::channel();
                state.evictions.insert(place, sender);
                self.dispatch(&mut state);
                let gate = self.clone();
                Ok((Permit { gate, place }, Evicted(receiver)))
            }
        }
    }

    /// Wakes everybody whose turn it is.
    fn dispatch(&self, state: &mut State) {
        let now = Instant::now();
        let due = loop {
            match state.limits.next_turn(now.into_std()) {
                Turn::Wait(at) => break at.map(Instant::from_std),
                Turn::Start(place) => {
                    let woken = state.turns.remove(&place).map(|sender| sender.send(()));
                    if woken != Some(Ok(())) {
                        // Whoever asked has stopped waiting.
                        state.limits.finish_turn(place, now.into_std());
                    }
                }
            }
        };
        self.due.send_if_modified(|known| {
            let is_news = *known != due;
            *known = due;
            is_news
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Gate,
    place: Place,
}

impl Permit {
    /// Notes that the peer has done its part.
    pub(super) fn progressed(&self) {
        let now = Instant::now().into_std();
        self.gate.lock().limits.progressed(self.place, now);
    }

    /// Waits for this handshake's turn to make evidence. The turn ends when the guard is dropped.
    pub(super) async fn turn(&self) -> Making<'_> {
        let (sender, mut receiver) = oneshot::channel();
        let mut due = self.gate.due.subscribe();
        {
            let mut state = self.gate.lock();
            state.turns.insert(self.place, sender);
            let now = Instant::now().into_std();
            state.limits.request_turn(self.place, now);
            self.gate.dispatch(&mut state);
        }
        loop {
            let at = *due.borrow_and_update();
            tokio::select! {
                biased;
                // An evicted handshake's sender is dropped; it will not come far with its turn.
                _ = &mut receiver => return Making(self),
                _ = due.changed() => {}
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    self.gate.dispatch(&mut self.gate.lock());
                }
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.evictions.remove(&self.place);
        state.turns.remove(&self.place);
        state.limits.release(self.place);
        self.gate.dispatch(&mut state);
    }
}

/// Resolves when the place was given to somebody else.
#[derive(Debug)]
pub(super) struct Evicted(oneshot::Receiver<()>);

impl Evicted {
    pub(super) async fn wait(self) {
        if self.0.await.is_err() {
            // The handshake ended; whoever waits here is dropped with it.
            std::future::pending::<()>().await;
        }
    }
}

/// A turn: evidence is being made.
#[derive(Debug)]
pub(super) struct Making<'a>(&'a Permit);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.0.gate.lock();
        let now = Instant::now().into_std();
        state.limits.finish_turn(self.0.place, now);
        self.0.gate.dispatch(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::tls::limits::Rate;

    fn gate(handshakes: usize, per_second: u32) -> Gate {
        let rate = Rate::new(NonZeroU32::new(per_second).unwrap(), 1);
        Gate::new(Bounds {
            handshakes,
            handshakes_per_peer: handshakes,
            evidence: rate,
            evidence_per_peer: rate,
            ..Bounds::default()
        })
    }

    fn enter(gate: &Gate, last: u8) -> (Permit, Evicted) {
        gate.enter(IpAddr::from([192, 0, 2, last])).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_without_anybody_else_moving() {
        let gate = gate(8, 10);
        let start = Instant::now();
        let mut tasks = Vec::new();
        for last in 0..5 {
            let permit = enter(&gate, last).0;
            tasks.push(tokio::spawn(async move { drop(permit.turn().await) }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let took = start.elapsed();
        assert!((400..410).contains(&took.as_millis()), "{took:?}");
        assert_eq!(gate.lock().limits.open(), 0);
        assert!(gate.lock().turns.is_empty() && gate.lock().evictions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_holds_up_nobody() {
        let gate = gate(8, 1000);
        let (first, _) = enter(&gate, 1);
        let making = first.turn().await;
        let (second, _) = enter(&gate, 2);
        let (third, _) = enter(&gate, 3);
        assert!(
            timeout(Duration::from_secs(1), second.turn())
                .await
                .is_err()
        );
        let waiting = tokio::spawn(async move { drop(third.turn().await) });
        tokio::task::yield_now().await;
        drop(making);
        timeout(Duration::from_secs(1), waiting)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_evicted_hears_of_it() {
        let gate = gate(2, 1000);
        let (_first, evicted) = enter(&gate, 1);
        let (_second, stays) = enter(&gate, 1);
        let (third, _) = enter(&gate, 2);
        timeout(Duration::from_secs(1), evicted.wait())
            .await
            .unwrap();
        assert!(timeout(Duration::from_secs(1), stays.wait()).await.is_err());
        drop(third);
        assert_eq!(gate.lock().limits.open(), 1);
    }
}
