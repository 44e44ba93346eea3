//! The database, SQLite or PostgreSQL, behind one interface.
//!
//! Statements are written once, in the SQL that both understand, with parameters `$1`, `$2`, …;
//! the two differ only in how they are sent. Reads go through [`Database::read`], one statement
//! at a time; whatever writes is a [`Command`], run in one serialisable transaction and, if it
//! collided with another one, run again.
//!
//! An acknowledged command is on the disk: SQLite runs with `synchronous=FULL`, PostgreSQL with its
//! `synchronous_commit` (which is not ours to set).
//!
//! I/O: the database, through [`sqlite`] and [`postgres`].

mod migrations;
mod pool;
pub(crate) mod postgres;
mod session;
mod sqlite;
mod value;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use session::Session;
pub(crate) use value::{Row, Value};

/// How long a command that collides with others is run again before it is given up: on a machine
/// with much else to do, many hubs can be in each other's way for some time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such thing.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// Of what kind.
        kind: &'static str,
        /// What it was called.
        name: String,
    },
    /// A thing of this name is there already.
    #[error("there is already a {kind} {name:?}")]
    Exists {
        /// Of what kind.
        kind: &'static str,
        /// What it is called.
        name: String,
    },
    /// It would leave things in a state in which they must not be.
    #[error("{0}")]
    Refused(String),
    /// Too much is waiting for the database.
    #[error("the database was busy for {0:?}")]
    Busy(Duration),
    /// Another transaction was faster; the same one again may succeed.
    #[error("the transaction collided with another one")]
    Conflict,
    /// SQLite says no.
    #[error("SQLite")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says no.
    #[error("PostgreSQL")]
    Postgres(#[from] tokio_postgres::Error),
    /// The database holds what this program doesn't write.
    #[error("the database holds {actual} where {expected} was expected")]
    Shape {
        /// What should be there.
        expected: &'static str,
        /// What is there.
        actual: String,
    },
    /// A stored secret can't be opened.
    #[error("a stored secret can't be opened")]
    Sealed(#[from] crate::sealing::SealError),
}

/// A change: everything that it does happens, or nothing.
pub(crate) trait Command: Sync {
    /// What it results in.
    type Output: Send;

    /// Does it, within a transaction that the caller began and commits. May be run several times.
    fn run(&self, tx: &mut Session) -> impl Future<Output = Result<Self::Output, Error>> + Send;
}

/// A database with its pool of connections.
#[derive(Clone)]
pub(crate) enum Database {
    /// One file.
    Sqlite(sqlite::Sqlite),
    /// A server, perhaps shared with other hubs.
    Postgres(postgres::Postgres),
}

impl Database {
    /// Opens the database that `location` names (`postgres://…` or a file) and brings its tables to
    /// this program's version.
    ///
    /// # Errors
    ///
    /// If it can't be opened, or was written by a later version of this program.
    pub(crate) async fn open(
        location: &str,
        postgres_ca: Option<&std::path::Path>,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let database = if postgres::is_url(location) {
            Self::Postgres(postgres::Postgres::new(location, postgres_ca, connections)?)
        } else {
            Self::Sqlite(sqlite::Sqlite::open(location.as_ref(), connections)?)
        };
        migrations::run(&database).await?;
        Ok(database)
    }

    /// A connection for statements that only read, each on its own.
    pub(crate) async fn read(&self) -> Result<Session, Error> {
        Ok(match self {
            Self::Sqlite(sqlite) => Session::Sqlite(sqlite.reader().await?),
            Self::Postgres(postgres) => Session::Postgres(postgres.connection().await?),
        })
    }

    /// A connection in a serialisable transaction; dropped, it is rolled back.
    async fn begin(&self) -> Result<Session, Error> {
        let mut session = match self {
            Self::Sqlite(sqlite) => Session::Sqlite(sqlite.writer().await?),
            Self::Postgres(postgres) => Session::Postgres(postgres.connection().await?),
        };
        session.begin().await?;
        Ok(session)
    }

    /// Runs a command; when this returns, what it did is on the disk.
    pub(crate) async fn write<C: Command>(&self, command: &C) -> Result<C::Output, Error> {
        let start = Instant::now();
        let mut attempt = 1;
        loop {
            match self.attempt(command).await {
                Err(Error::Conflict) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(pause(attempt)).await;
                    attempt = attempt.saturating_add(1);
                }
                result => return result,
            }
        }
    }

    async fn attempt<C: Command>(&self, command: &C) -> Result<C::Output, Error> {
        let mut session = self.begin().await?;
        let output = command.run(&mut session).await?;
        session.commit().await?;
        Ok(output)
    }

    /// How many connections are in use, and how many there may be.
    pub(crate) fn load(&self) -> (usize, usize) {
        match self {
            Self::Sqlite(sqlite) => sqlite.load(),
            Self::Postgres(postgres) => postgres.load(),
        }
    }
}

/// Longer each time, and different for those that collided: between half of a step and one and a
/// half.
fn pause(attempt: u32) -> Duration {
    // Without random numbers they are only less different; sealing is what fails then.
    let number = crate::sealing::random().map_or(0, u64::from_ne_bytes);
    let step = 2_u64.saturating_pow(attempt.min(7)).saturating_mul(1000);
    let spread = number.checked_rem(step).unwrap_or_default();
    Duration::from_micros((step / 2).saturating_add(spread))
}
