//! The tables, and how older ones become them.
//!
//! Left out: going back; a database that a later program wrote is refused.
//!
//! I/O: the database.

use anyhow::{Context, ensure};

use super::{Command, Database, Error, Session, Value};

/// In order; what was released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/0001-initial.sql")];

/// Brings the tables to this program's version. Several processes may do so at once.
pub(super) async fn run(database: &Database) -> anyhow::Result<()> {
    let version = database
        .write(&Migrate)
        .await
        .context("prepare the database's tables")?;
    let known = MIGRATIONS.len();
    ensure!(
        usize::try_from(version).is_ok_and(|version| version <= known),
        "the database has version {version}, this program knows up to {known}: use a later one"
    );
    Ok(())
}

struct Migrate;

impl Command for Migrate {
    type Output = i64;

    async fn run(&self, tx: &mut Session) -> Result<i64, Error> {
        if matches!(tx, Session::Postgres(_)) {
            // Held until the end of the transaction: the second hub waits for the first.
            tx.batch("SELECT pg_advisory_xact_lock(7226155834031211876)")
                .await?;
        }
        tx.batch("CREATE TABLE IF NOT EXISTS hub_migrations (version BIGINT NOT NULL PRIMARY KEY)")
            .await?;
        let latest = "SELECT version FROM hub_migrations ORDER BY version DESC LIMIT 1";
        let version = match tx.first(latest, []).await? {
            Some(mut row) => row.integer()?,
            None => 0,
        };
        let done = usize::try_from(version).unwrap_or(usize::MAX);
        let mut version = version;
        for migration in MIGRATIONS.iter().skip(done) {
            let (id, blob) = words(tx);
            tx.batch(&migration.replace("{id}", id).replace("{blob}", blob))
                .await?;
            version = version.saturating_add(1);
            let insert = "INSERT INTO hub_migrations (version) VALUES ($1)";
            tx.execute(insert, [Value::Integer(version)]).await?;
        }
        Ok(version)
    }
}

fn words(session: &Session) -> (&'static str, &'static str) {
    match session {
        Session::Sqlite(_) => ("INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB"),
        Session::Postgres(_) => ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BYTEA"),
    }
}
