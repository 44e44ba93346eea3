//! A name's addresses, looked up by one thread at a time.
//!
//! The system's resolver cannot be interrupted: a lookup that is given up keeps its thread until it
//! ends. So whoever needs the addresses meanwhile waits for the one that is under way.
//!
//! I/O: looks the name up.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::dial::too_slow;

/// What was found; an error can be had only once.
type Found = Result<Arc<[SocketAddr]>, (io::ErrorKind, Arc<str>)>;

/// The lookup that is under way, or the last one.
#[derive(Default)]
pub(super) struct Lookup(Mutex<Option<watch::Receiver<Option<Found>>>>);

impl Lookup {
    /// What `find` finds, or an earlier one that has not ended yet, within `limit`.
    pub(super) async fn addresses<F, A>(
        &self,
        limit: Duration,
        find: impl FnOnce() -> F,
    ) -> io::Result<Arc<[SocketAddr]>>
    where
        F: Future<Output = io::Result<A>> + Send + 'static,
        A: IntoIterator<Item = SocketAddr>,
    {
        let mut pending = self.pending(find);
        let found = timeout(limit, pending.wait_for(Option::is_some)).await;
        let found = found.map_err(|_| too_slow(limit))?;
        // The task that looks ends without an answer only with the runtime.
        let found = found.map_err(io::Error::other)?.clone();
        let found = found.ok_or_else(|| io::Error::other("nothing was looked up"))?;
        found.map_err(|(kind, error)| io::Error::new(kind, &*error))
    }

    fn pending<F, A>(&self, find: impl FnOnce() -> F) -> watch::Receiver<Option<Found>>
    where
        F: Future<Output = io::Result<A>> + Send + 'static,
        A: IntoIterator<Item = SocketAddr>,
    {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = &*last
            && pending.borrow().is_none()
            && pending.has_changed().is_ok()
        {
            return pending.clone();
        }
        let (sender, pending) = watch::channel(None);
        let find = find();
        tokio::spawn(async move {
            let found = find.await.map(|addresses| addresses.into_iter().collect());
            let found = found.map_err(|error| (error.kind(), error.to_string().into()));
            sender.send_replace(Some(found));
        });
        *last = Some(pending.clone());
        pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_is_the_only_one() {
        let (begun, goes_on) = (AtomicUsize::new(0), Arc::new(Semaphore::new(0)));
        let lookup = Lookup::default();
        let limit = Duration::from_secs(5);
        let find = || {
            begun.fetch_add(1, Ordering::Relaxed);
            let goes_on = Arc::clone(&goes_on);
            async move {
                goes_on.acquire().await.unwrap().forget();
                Ok(vec![SocketAddr::from(([192, 0, 2, 1], 80))])
            }
        };
        for _ in 0..20 {
            let error = lookup.addresses(limit, find).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        goes_on.add_permits(1);
        assert_eq!(lookup.addresses(limit, find).await.unwrap().len(), 1);
        assert_eq!(begun.load(Ordering::Relaxed), 1, "the same one");
        // What was found is not kept: servers move.
        goes_on.add_permits(1);
        assert!(lookup.addresses(limit, find).await.is_ok());
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn everybody_hears_why_there_is_none() {
        let lookup = Lookup::default();
        let find = || async {
            tokio::task::yield_now().await;
            Err::<Vec<SocketAddr>, _>(io::Error::new(io::ErrorKind::NotFound, "no such name"))
        };
        let limit = Duration::from_secs(5);
        let (one, other) =
            tokio::join!(lookup.addresses(limit, find), lookup.addresses(limit, find));
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert_eq!(error.to_string(), "no such name");
        }
    }
}
