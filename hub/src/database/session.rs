//! One connection in use.
//!
//! I/O: the database.

use rusqlite::Connection;

use super::pool::Lease;
use super::postgres::PostgresConnection;
use super::{Error, Row, Value, sqlite};

/// A connection in use, perhaps in a transaction. Dropped before [`Session::commit`], it leaves
/// nothing behind.
pub(crate) enum Session {
    /// One of SQLite's.
    Sqlite(Lease<Connection>),
    /// One of PostgreSQL's.
    Postgres(Lease<PostgresConnection>),
}

impl Session {
    /// Runs a statement that returns rows.
    pub(crate) async fn query<const N: usize>(
        &mut self,
        sql: &'static str,
        parameters: [Value; N],
    ) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(lease) => sqlite::query(lease.connection()?, sql, &parameters),
            Self::Postgres(lease) => lease.connection()?.query(sql, &parameters).await,
        }
    }

    /// The first row, if there is one.
    pub(crate) async fn first<const N: usize>(
        &mut self,
        sql: &'static str,
        parameters: [Value; N],
    ) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// Runs a statement that returns nothing, and says how many rows it changed.
    pub(crate) async fn execute<const N: usize>(
        &mut self,
        sql: &'static str,
        parameters: [Value; N],
    ) -> Result<u64, Error> {
        match self {
            Self::Sqlite(lease) => sqlite::execute(lease.connection()?, sql, &parameters),
            Self::Postgres(lease) => lease.connection()?.execute(sql, &parameters).await,
        }
    }

    /// Runs a statement once for each of many sets of parameters, in their order, without waiting for
    /// one before the next is sent.
    pub(crate) async fn execute_each<const N: usize>(
        &mut self,
        sql: &'static str,
        all: &[[Value; N]],
    ) -> Result<(), Error> {
        match self {
            Self::Sqlite(lease) => {
                let connection = lease.connection()?;
                for parameters in all {
                    sqlite::execute(connection, sql, parameters)?;
                }
                Ok(())
            }
            Self::Postgres(lease) => lease.connection()?.execute_each(sql, all).await,
        }
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(lease) => sqlite::batch(lease.connection()?, sql),
            Self::Postgres(lease) => lease.connection()?.batch(sql).await,
        }
    }

    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        match self {
            // Takes the write lock now: a transaction that read first could not get it later.
            Self::Sqlite(lease) => sqlite::batch(lease.connection()?, "BEGIN IMMEDIATE"),
            Self::Postgres(lease) => lease.connection()?.begin().await,
        }
    }

    pub(super) async fn commit(mut self) -> Result<(), Error> {
        match &mut self {
            Self::Sqlite(lease) => sqlite::batch(lease.connection()?, "COMMIT"),
            Self::Postgres(lease) => lease.connection()?.commit().await,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match self {
            Self::Sqlite(lease) => {
                let is_clean = lease.connection().is_ok_and(|connection| {
                    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok()
                });
                if !is_clean {
                    lease.discard();
                }
            }
            // The server rolls back what a closed connection had begun.
            Self::Postgres(lease) => {
                if !lease
                    .connection()
                    .is_ok_and(|connection| connection.is_reusable())
                {
                    lease.discard();
                }
            }
        }
    }
}
