//! SQLite: one file, one writer, several readers.
//!
//! I/O: the database's file and its `-wal` and `-shm` neighbours.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, ErrorCode, params_from_iter};

use super::pool::{Lease, Pool};
use super::{Error, Row, Value};

/// How long another process (a backup, a second hub) may hold the lock.
const BUSY: Duration = Duration::from_secs(10);

/// An open file with its pool.
#[derive(Clone)]
pub(crate) struct Sqlite {
    path: PathBuf,
    readers: Arc<Pool<Connection>>,
    writer: Arc<Pool<Connection>>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, readers: usize) -> anyhow::Result<Self> {
        create_private(path).with_context(|| format!("create {}", path.display()))?;
        let sqlite = Self {
            path: path.to_owned(),
            readers: Pool::new(readers.max(1)),
            writer: Pool::new(1),
        };
        let connection = sqlite.connect();
        let connection = connection.with_context(|| format!("open {}", path.display()))?;
        sqlite.writer.add(connection);
        Ok(sqlite)
    }

    /// A connection that sees what is committed.
    pub(super) async fn reader(&self) -> Result<Lease<Connection>, Error> {
        let (idle, turn) = self.readers.turn().await?;
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = self.connect()?;
                connection.pragma_update(None, "query_only", true)?;
                connection
            }
        };
        Ok(turn.with(connection))
    }

    /// The connection that may write; there is one, so that writers queue here and not at the lock.
    pub(super) async fn writer(&self) -> Result<Lease<Connection>, Error> {
        let (idle, turn) = self.writer.turn().await?;
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        Ok(turn.with(connection))
    }

    pub(super) fn load(&self) -> (usize, usize) {
        let (readers, most) = self.readers.load();
        let (writers, one) = self.writer.load();
        (readers.saturating_add(writers), most.saturating_add(one))
    }

    fn connect(&self) -> Result<Connection, Error> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL: a commit is acknowledged when the log is on the disk, not before.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What is deleted (a builder's secrets) is overwritten.
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    }
}

/// The file exists before SQLite opens it, so that it was never readable by others.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(path)?.sync_all()
}

pub(super) fn query(
    connection: &Connection,
    sql: &str,
    parameters: &[Value],
) -> Result<Vec<Row>, Error> {
    let mut statement = connection
        .prepare_cached(&numbered(sql))
        .map_err(classify)?;
    let columns = statement.column_count();
    let mut rows = statement
        .query(params_from_iter(parameters))
        .map_err(classify)?;
    let mut result = Vec::new();
    while let Some(row) = rows.next().map_err(classify)? {
        let fields = (0..columns).map(|index| Ok(value(row.get_ref(index)?)));
        result.push(Row::new(fields.collect::<Result<_, rusqlite::Error>>()?));
    }
    Ok(result)
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    parameters: &[Value],
) -> Result<u64, Error> {
    let mut statement = connection
        .prepare_cached(&numbered(sql))
        .map_err(classify)?;
    let changed = statement
        .execute(params_from_iter(parameters))
        .map_err(classify)?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

/// `$2` as SQLite numbers parameters; to it, that is a name, numbered by its first place.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Runs what may wait for the lock or the disk, while other tasks go on.
pub(super) fn batch(connection: &Connection, sql: &str) -> Result<(), Error> {
    tokio::task::block_in_place(|| connection.execute_batch(sql)).map_err(classify)
}

fn value(field: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match field {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // No column is one; whoever reads it says so.
        ValueRef::Real(_) => Value::Bytes(Vec::new()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// Commands look before they write, so that a violated constraint means that another one wrote in
/// between.
fn classify(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ConstraintViolation,
        ) => Error::Conflict,
        _ => Error::Sqlite(error),
    }
}
