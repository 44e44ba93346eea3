//! One request to the kernel at a time, and none for somebody who has gone away.
//!
//! A thread that waits for the kernel cannot be ended: while it waits, whoever asks next does not
//! start another. So the askers can go, and time can run out, without threads piling up.
//!
//! I/O: none; the work is done on the runtime's threads for blocking work.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::TdxError;

/// Who has it may make a request. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    turn: Arc<Mutex<()>>,
    /// How long waiting for one's turn and the work may take together.
    limit: Duration,
}

/// Whether somebody still waits for what is being done.
pub(super) struct Wanted {
    asker: Weak<()>,
    end: Instant,
}

impl Turn {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            turn: Arc::default(),
            limit,
        }
    }

    /// Waits for its turn, then has the work done; both are given up when this future is dropped.
    pub(super) async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Wanted) -> Result<T, TdxError> + Send + 'static,
    ) -> Result<T, TdxError> {
        let limit = self.limit;
        let now = Instant::now();
        let end = now.checked_add(limit).unwrap_or(now);
        let working = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let asker = Arc::new(());
            let wanted = Wanted {
                asker: Arc::downgrade(&asker),
                end,
            };
            let work = move || {
                // Goes along, so that work which nobody waits for keeps its turn.
                let _turn = turn;
                match wanted.is_over() {
                    true => Err(TdxError::Timeout { limit }),
                    false => work(&wanted),
                }
            };
            let done = spawn_blocking(work).await;
            drop(asker);
            done.map_err(TdxError::Ended)?
        };
        let done = timeout_at(end, working).await;
        done.map_err(|_| TdxError::Timeout { limit })?
    }
}

impl Wanted {
    /// Whether nobody waits any more, or not for long.
    pub(super) fn is_over(&self) -> bool {
        self.asker.strong_count() == 0 || Instant::now() >= self.end
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn work_that_is_abandoned_neither_piles_up_nor_runs_later() {
        let (turn, runs) = (Turn::new(LONG), Arc::new(AtomicU32::new(0)));
        let (release, released) = mpsc::channel::<()>();
        let (over, is_over) = mpsc::channel();
        let counted = Arc::clone(&runs);
        let hanging = turn.take(move |wanted| {
            counted.fetch_add(1, Ordering::SeqCst);
            let before = wanted.is_over();
            released.recv().unwrap();
            over.send((before, wanted.is_over())).unwrap();
            Ok(())
        });
        let mut hanging = Box::pin(hanging);
        while runs.load(Ordering::SeqCst) == 0 {
            let _ = timeout(Duration::from_millis(1), &mut hanging).await;
        }
        drop(hanging);
        // The thread still hangs: those who come now wait, and leave.
        for _ in 0..3 {
            let counted = Arc::clone(&runs);
            let work = move |_: &Wanted| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            assert!(timeout(SHORT, turn.take(work)).await.is_err());
        }
        release.send(()).unwrap();
        assert_eq!(turn.take(|_| Ok(7)).await.unwrap(), 7);
        assert_eq!(is_over.recv().unwrap(), (false, true));
        yield_now().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_limit_is_for_waiting_and_work_together() {
        let turn = Turn::new(SHORT);
        let (release, released) = mpsc::channel::<()>();
        let hanging = turn.take(move |wanted| {
            released.recv().unwrap();
            Ok(wanted.is_over())
        });
        let error = hanging.await.unwrap_err();
        assert!(matches!(error, TdxError::Timeout { .. }), "{error:?}");
        let error = turn.take(|_| Ok(())).await.unwrap_err();
        assert_eq!(error.to_string(), "no TD quote within 0.05 s");
        release.send(()).unwrap();
        while turn.take(|_| Ok(())).await.is_err() {}
    }

    #[tokio::test]
    async fn work_that_panics_is_not_called_late() {
        let turn = Turn::new(LONG);
        let error = turn
            .take(|_| -> Result<(), _> { panic!("on purpose") })
            .await
            .unwrap_err();
        assert!(
            matches!(&error, TdxError::Ended(source) if source.is_panic()),
            "{error:?}"
        );
        assert!(turn.take(|_| Ok(())).await.is_ok());
    }
}
