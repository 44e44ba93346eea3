//! A bounded pool of connections of any kind.
//!
//! I/O: none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// How long a request waits for a connection.
const WAIT: Duration = Duration::from_secs(10);

/// Connections that are not in use, and room for more.
#[derive(Debug)]
pub(super) struct Pool<T> {
    idle: Mutex<Vec<T>>,
    room: Arc<Semaphore>,
    size: usize,
}

/// A connection in use, given back when dropped.
pub(crate) struct Lease<T> {
    connection: Option<T>,
    pool: Arc<Pool<T>>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Pool<T> {
    pub(super) fn new(size: usize) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(size));
        Arc::new(Self {
            idle: Mutex::new(Vec::new()),
            room,
            size,
        })
    }

    /// Waits for a turn; whether there is a connection that can be used again is another matter.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<(Option<T>, Turn<T>), Error> {
        let room = Arc::clone(&self.room).acquire_owned();
        let permit = tokio::time::timeout(WAIT, room).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::Busy(WAIT));
        };
        Ok((
            self.idle().pop(),
            Turn {
                pool: Arc::clone(self),
                permit,
            },
        ))
    }

    pub(super) fn add(&self, connection: T) {
        self.idle().push(connection);
    }

    pub(super) fn load(&self) -> (usize, usize) {
        (
            self.size.saturating_sub(self.room.available_permits()),
            self.size,
        )
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have one connection.
pub(super) struct Turn<T> {
    pool: Arc<Pool<T>>,
    permit: OwnedSemaphorePermit,
}

impl<T> Turn<T> {
    pub(super) fn with(self, connection: T) -> Lease<T> {
        Lease {
            connection: Some(connection),
            pool: self.pool,
            _permit: self.permit,
        }
    }
}

impl<T> Lease<T> {
    /// Closes the connection instead of giving it back.
    pub(super) fn discard(&mut self) {
        self.connection = None;
    }

    /// The connection; none only after [`Lease::discard`].
    pub(super) fn connection(&mut self) -> Result<&mut T, Error> {
        self.connection.as_mut().ok_or(Error::Conflict)
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.add(connection);
        }
    }
}
