//! PostgreSQL, perhaps shared with other hubs.
//!
//! `sslmode` in the URL says whether the connection is encrypted; where it is, the server's
//! certificate and name are verified, always: unlike libpq's `require`, which trusts anybody.
//!
//! I/O: the connection to the server; reads the file with the trust roots.

mod tls;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::pool::{Lease, Pool};
use super::{Error, Row, Value};

/// How long the server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A server with its pool.
#[derive(Clone)]
pub(crate) struct Postgres {
    config: Arc<Config>,
    tls: Option<tls::MakeRustls>,
    pool: Arc<Pool<PostgresConnection>>,
}

/// A connection that keeps the statements that it has prepared.
pub(crate) struct PostgresConnection {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
    is_in_transaction: bool,
}

/// Whether a location names a server.
pub(crate) fn is_url(location: &str) -> bool {
    location.starts_with("postgres://") || location.starts_with("postgresql://")
}

impl Postgres {
    pub(crate) fn new(url: &str, ca: Option<&Path>, connections: usize) -> anyhow::Result<Self> {
        // The URL holds a password; the parser's error doesn't repeat it.
        let mut config: Config = url.parse().context("parse the database's URL")?;
        config
            .connect_timeout(CONNECT)
            .application_name("builderhub");
        config.keepalives_idle(Duration::from_secs(30));
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ if ca.is_none() && config.get_ssl_mode() == SslMode::Prefer => None,
            _ => Some(tls::MakeRustls::new(crate::roots::read(ca)?)?),
        };
        let config = Arc::new(config);
        Ok(Self {
            config,
            tls,
            pool: Pool::new(connections.max(1)),
        })
    }

    /// A connection of the pool, or a new one.
    pub(crate) async fn connection(&self) -> Result<Lease<PostgresConnection>, Error> {
        let (idle, turn) = self.pool.turn().await?;
        let connection = match idle.filter(PostgresConnection::is_reusable) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(turn.with(connection))
    }

    pub(super) fn load(&self) -> (usize, usize) {
        self.pool.load()
    }

    async fn connect(&self) -> Result<PostgresConnection, Error> {
        let client = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(async move { report(connection.await) });
                client
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(async move { report(connection.await) });
                client
            }
        };
        Ok(PostgresConnection {
            client,
            prepared: HashMap::new(),
            is_in_transaction: false,
        })
    }
}

/// A connection that breaks fails the statements that wait for it; this is for the log.
fn report(result: Result<(), tokio_postgres::Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a connection to PostgreSQL broke");
    }
}

impl PostgresConnection {
    /// Whether it may be given to the next request.
    pub(super) fn is_reusable(&self) -> bool {
        !self.is_in_transaction && !self.client.is_closed()
    }

    pub(crate) async fn query(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        let rows = self.client.query(&statement, &references(parameters)).await;
        rows.map_err(classify)?.iter().map(row).collect()
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        let statement = self.prepare(sql).await?;
        let changed = self
            .client
            .execute(&statement, &references(parameters))
            .await;
        changed.map_err(classify)
    }

    /// Sends all before the first answer is there: else each would take a round trip to the server.
    pub(super) async fn execute_each<const N: usize>(
        &mut self,
        sql: &'static str,
        all: &[[Value; N]],
    ) -> Result<(), Error> {
        let statement = self.prepare(sql).await?;
        let client = &self.client;
        let mut failed = None;
        let mut running: Vec<_> = all
            .iter()
            .map(|parameters| {
                let (statement, parameters) = (statement.clone(), references(parameters));
                Box::pin(async move { client.execute(&statement, &parameters).await })
            })
            .collect();
        // A statement is sent when it is polled for the first time; answers come in the same order.
        std::future::poll_fn(|context| {
            running.retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Ready(Ok(_)) => false,
                Poll::Ready(Err(error)) => {
                    failed.get_or_insert(error);
                    false
                }
                Poll::Pending => true,
            });
            match (failed.take(), running.is_empty()) {
                (Some(error), _) => Poll::Ready(Err(classify(error))),
                (None, true) => Poll::Ready(Ok(())),
                (None, false) => Poll::Pending,
            }
        })
        .await
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await.map_err(classify)
    }

    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        // First: if this future is dropped midway, the connection is not used again.
        self.is_in_transaction = true;
        self.batch("BEGIN ISOLATION LEVEL SERIALIZABLE").await
    }

    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        self.batch("COMMIT").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    async fn prepare(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(classify)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

fn references(parameters: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    parameters
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    use tokio_postgres::types::Type;
    let fields = row
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| match *column.type_() {
            Type::INT8 => Ok(row.try_get::<_, Option<i64>>(index)?.into()),
            Type::TEXT | Type::VARCHAR => Ok(row.try_get::<_, Option<String>>(index)?.into()),
            Type::BYTEA => Ok(row.try_get::<_, Option<Vec<u8>>>(index)?.into()),
            ref other => Err(Error::Shape {
                expected: "a number, text or bytes",
                actual: other.name().to_owned(),
            }),
        });
    fields.collect::<Result<_, _>>().map(Row::new)
}

/// Commands look before they write, so that a violated constraint means that another one wrote in
/// between.
fn classify(error: tokio_postgres::Error) -> Error {
    let collisions = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::FOREIGN_KEY_VIOLATION,
        // Another hub, started at the same time, made the tables.
        &SqlState::DUPLICATE_TABLE,
    ];
    match error.code() {
        Some(code) if collisions.contains(&code) => Error::Conflict,
        _ => Error::Postgres(error),
    }
}
