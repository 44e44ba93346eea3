//! Writes the events of reads: many in one transaction, each acknowledged when it is on the disk.
//!
//! A node's poll writes an event. With a transaction each, the disk's flushes would bound how many
//! nodes a hub can have; so one task writes whatever has come in while it wrote the former lot.
//!
//! I/O: the database.

use std::mem;

use tokio::sync::{mpsc, oneshot};

use crate::database::Database;
use crate::records::events::{Event, RecordAll};

/// Most events that wait, and that are written at once.
const QUEUE: usize = 4096;
const LOT: usize = 512;

type Waiting = (Event, oneshot::Sender<bool>);

/// Where events go.
#[derive(Clone)]
pub(crate) struct EventLog(mpsc::Sender<Waiting>);

/// An event could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the event could not be written")]
pub(crate) struct NotWritten;

impl EventLog {
    /// Starts the task that writes; it ends when all handles are gone.
    pub(crate) fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(database, receiver));
        Self(sender)
    }

    /// Returns when the event is on the disk.
    pub(crate) async fn write(&self, event: Event) -> Result<(), NotWritten> {
        let (sender, written) = oneshot::channel();
        self.0.send((event, sender)).await.map_err(|_| NotWritten)?;
        if written.await.unwrap_or(false) {
            Ok(())
        } else {
            Err(NotWritten)
        }
    }
}

async fn write(database: Database, mut receiver: mpsc::Receiver<Waiting>) {
    let mut lot = Vec::new();
    while receiver.recv_many(&mut lot, LOT).await > 0 {
        let (events, waiting): (Vec<_>, Vec<_>) = mem::take(&mut lot).into_iter().unzip();
        let result = database.write(&RecordAll(events)).await;
        if let Err(error) = &result {
            tracing::error!(
                error = crate::reply::causes(error),
                "events could not be written"
            );
        }
        for waiting in waiting {
            // Whoever has gone away doesn't mind.
            let _ = waiting.send(result.is_ok());
        }
    }
}
