//! One value that takes long to fetch: kept, fetched anew now and then, and fetched once for all who
//! wait.
//!
//! Fetching is a task of its own: who asks and goes away again, such as a handshake that took too
//! long, does not take it along, so the next one finds it done.
//!
//! I/O: none.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What a fetch ends with, for all who wait; `None` if it ended without saying.
pub(super) type Outcome<T, E> = Option<Result<Arc<T>, Arc<E>>>;

/// A value, from the first fetch that succeeds. Clones are the same.
pub(super) struct Kept<T, E> {
    state: Arc<Mutex<State<T, E>>>,
    /// For how long it is not fetched anew.
    fresh: Duration,
    /// For how long not after a try that failed.
    pause: Duration,
}

struct State<T, E> {
    value: Option<Arc<T>>,
    /// When to fetch the value anew.
    due: Option<Instant>,
    coming: Option<watch::Receiver<Outcome<T, E>>>,
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Kept<T, E> {
    pub(super) fn new(fresh: Duration, pause: Duration) -> Self {
        let state = State {
            value: None,
            due: None,
            coming: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            fresh,
            pause,
        }
    }

    /// The value, at once; one that is old is fetched anew beside that, and kept if that fails.
    pub(super) fn value<F>(&self, renew: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let mut state = self.lock();
        let value = state.value.clone()?;
        if state.due.is_some_and(|due| due <= Instant::now()) {
            state.due = Instant::now().checked_add(self.pause);
            let (kept, renewing) = (self.clone(), renew());
            tokio::spawn(async move {
                if let Some(value) = renewing.await {
                    kept.keep(&mut kept.lock(), value);
                }
            });
        }
        Some(value)
    }

    /// What comes of the fetch that is under way, if one is.
    pub(super) async fn coming(&self) -> Outcome<T, E> {
        let coming = self.lock().under_way()?;
        wait(coming).await
    }

    /// The value, or what comes of fetching it. A failure is not kept.
    pub(super) async fn fetched<F>(&self, fetch: impl FnOnce() -> F) -> Outcome<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let coming = {
            let mut state = self.lock();
            if let Some(value) = &state.value {
                return Some(Ok(Arc::clone(value)));
            }
            match state.under_way() {
                Some(coming) => coming,
                None => self.begin(&mut state, fetch()),
            }
        };
        wait(coming).await
    }

    fn begin(
        &self,
        state: &mut State<T, E>,
        fetching: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> watch::Receiver<Outcome<T, E>> {
        let (sender, receiver) = watch::channel(None);
        state.coming = Some(receiver.clone());
        let kept = self.clone();
        tokio::spawn(async move {
            let fetched = fetching.await;
            let outcome = {
                let mut state = kept.lock();
                state.coming = None;
                fetched
                    .map(|value| kept.keep(&mut state, value))
                    .map_err(Arc::new)
            };
            sender.send_replace(Some(outcome));
        });
        receiver
    }

    fn keep(&self, state: &mut State<T, E>, value: T) -> Arc<T> {
        let value = Arc::new(value);
        state.value = Some(Arc::clone(&value));
        state.due = Instant::now().checked_add(self.fresh);
        value
    }
}

impl<T, E> Kept<T, E> {
    /// Nothing that is done while it is locked can leave it half done.
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E> State<T, E> {
    /// The fetch that is under way; not one whose task has ended without saying.
    fn under_way(&self) -> Option<watch::Receiver<Outcome<T, E>>> {
        let coming = self.coming.as_ref();
        coming
            .filter(|coming| coming.has_changed().is_ok())
            .cloned()
    }
}

async fn wait<T, E>(mut coming: watch::Receiver<Outcome<T, E>>) -> Outcome<T, E> {
    let outcome = coming.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
}

impl<T, E> Clone for Kept<T, E> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ..*self
        }
    }
}

impl<T, E> fmt::Debug for Kept<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("is_there", &self.lock().value.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn kept() -> Kept<u32, &'static str> {
        Kept::new(HOUR, HOUR)
    }

    #[tokio::test]
    async fn who_asks_at_once_shares_one_fetch_and_later_ones_its_value() {
        let (kept, count) = (kept(), Arc::new(AtomicU32::new(0)));
        let ask = || {
            let count = Arc::clone(&count);
            kept.fetched(|| async move {
                sleep(Duration::from_millis(20)).await;
                Ok(count.fetch_add(1, Ordering::SeqCst))
            })
        };
        let (one, two, three) = tokio::join!(ask(), ask(), ask());
        for value in [one, two, three, ask().await] {
            assert_eq!(value, Some(Ok(Arc::new(0))));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_shared_but_not_kept() {
        let kept = kept();
        let fails = || async {
            sleep(Duration::from_millis(20)).await;
            Err("no")
        };
        let (one, two) = tokio::join!(kept.fetched(fails), kept.coming());
        assert_eq!((one, two), (Some(Err("no".into())), Some(Err("no".into()))));
        assert_eq!(kept.coming().await, None);
        let again = kept.fetched(|| ready(Ok(7))).await;
        assert_eq!(again, Some(Ok(Arc::new(7))));
    }

    #[tokio::test]
    async fn a_fetch_outlives_who_asked() {
        let kept = kept();
        let (sender, receiver) = oneshot::channel();
        let fetch = || async { receiver.await.map_err(|_| "gone") };
        let asking = timeout(Duration::from_millis(20), kept.fetched(fetch));
        assert!(asking.await.is_err());
        sender.send(7).unwrap();
        let never = kept.fetched(pending).await;
        assert_eq!(never, Some(Ok(Arc::new(7))));
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_not_waited_for() {
        let kept = kept();
        let ended = kept.fetched(|| async { panic!("on purpose") }).await;
        assert_eq!(ended, None);
        let again = kept.fetched(|| ready(Ok(7))).await;
        assert_eq!(again, Some(Ok(Arc::new(7))));
    }

    #[tokio::test]
    async fn what_is_old_is_given_until_there_is_something_newer() {
        let kept = Kept::<u32, &str>::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(kept.value(|| ready(Some(1))), None);
        kept.fetched(|| ready(Ok(7))).await;
        // The first fails, the second does not.
        for (renewed, expected) in [(None, 7), (Some(8), 8)] {
            let (sender, receiver) = oneshot::channel();
            let renew = || async move {
                sender.send(()).unwrap();
                renewed
            };
            assert_eq!(kept.value(renew), Some(Arc::new(7)));
            receiver.await.unwrap();
            while **kept.lock().value.as_ref().unwrap() != expected {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_is_fresh_is_not_fetched_anew_and_a_failure_makes_a_pause() {
        let fresh = kept();
        fresh.fetched(|| ready(Ok(7))).await;
        let never = || -> std::future::Ready<Option<u32>> { panic!("it is fresh") };
        assert_eq!(fresh.value(never), Some(Arc::new(7)));
        let old = Kept::<u32, &str>::new(Duration::ZERO, HOUR);
        old.fetched(|| ready(Ok(7))).await;
        assert_eq!(old.value(|| ready(None)), Some(Arc::new(7)));
        tokio::task::yield_now().await;
        assert_eq!(old.value(never), Some(Arc::new(7)));
    }
}
