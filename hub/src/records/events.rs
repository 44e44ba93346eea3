//! The log of what admins and nodes did, from which measurement and address; and when each builder
//! was last heard of.
//!
//! I/O: the database.

use serde_json::{Value as Json, json};

use super::Page;
use crate::database::{Command, Error, Row, Session, Value};
use crate::text;

/// Who did something.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// `admin`, `node` or `hub`.
    pub(crate) kind: &'static str,
    /// The admin's user name, the node's builder.
    pub(crate) name: String,
    /// Where from.
    pub(crate) address: String,
    /// What a node was found to run.
    pub(crate) measurement: Option<String>,
}

/// What somebody did.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Who.
    pub(crate) actor: Actor,
    /// What, a verb and its object in one word.
    pub(crate) event: &'static str,
    /// To which builder.
    pub(crate) builder: Option<String>,
    /// Details for people, never secrets.
    pub(crate) detail: String,
}

impl Actor {
    /// What it did to nothing in particular.
    pub(crate) fn did(&self, event: &'static str, detail: impl Into<String>) -> Event {
        Event {
            actor: self.clone(),
            event,
            builder: None,
            detail: detail.into(),
        }
    }

    /// What it did to a builder.
    pub(crate) fn did_to(
        &self,
        builder: &str,
        event: &'static str,
        detail: impl Into<String>,
    ) -> Event {
        Event {
            builder: Some(builder.to_owned()),
            ..self.did(event, detail)
        }
    }
}

/// Writes an event, and of a node's, when it was heard of.
pub(crate) async fn record(tx: &mut Session, event: &Event) -> Result<(), Error> {
    record_all(tx, std::slice::from_ref(event)).await
}

async fn record_all(tx: &mut Session, events: &[Event]) -> Result<(), Error> {
    let now = text::now();
    let rows: Vec<_> = events.iter().map(|event| event.row(now)).collect();
    tx.execute_each(
        "INSERT INTO hub_events (at, actor_kind, actor, event, builder, measurement, address, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &rows,
    )
    .await?;
    let contacts: Vec<_> = events
        .iter()
        .filter_map(|event| event.contact(now))
        .collect();
    if contacts.is_empty() {
        return Ok(());
    }
    // The builder may have been deleted meanwhile.
    tx.execute_each(
        "INSERT INTO hub_contacts (builder, at, measurement, address)
         SELECT name, $2, $3, $4 FROM hub_builders WHERE name = $1
         ON CONFLICT (builder) DO UPDATE
         SET at = excluded.at, measurement = excluded.measurement, address = excluded.address",
        &contacts,
    )
    .await
}

impl Event {
    fn row(&self, now: i64) -> [Value; 8] {
        let actor = &self.actor;
        [
            now.into(),
            actor.kind.into(),
            (&actor.name).into(),
            self.event.into(),
            self.builder.clone().into(),
            actor.measurement.clone().into(),
            (&actor.address).into(),
            (&self.detail).into(),
        ]
    }

    /// Of a node's: which builder was heard of, when, running what, where.
    fn contact(&self, now: i64) -> Option<[Value; 4]> {
        let (measurement, builder) = (self.actor.measurement.as_ref()?, self.builder.as_ref()?);
        let address = &self.actor.address;
        Some([
            builder.into(),
            now.into(),
            measurement.into(),
            address.into(),
        ])
    }
}

/// Writes several events at once.
pub(crate) struct RecordAll(pub(crate) Vec<Event>);

impl Command for RecordAll {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        record_all(tx, &self.0).await
    }
}

/// The latest events first, of one builder or all. [`Page::after`] counts down: 0 is the latest.
pub(crate) async fn list(
    session: &mut Session,
    builder: Option<&str>,
    page: Page,
) -> Result<Vec<Json>, Error> {
    let before = page.before();
    let rows =
        match builder {
            Some(builder) => session
                .query(
                    "SELECT id, at, actor_kind, actor, event, builder, measurement, address, detail
                     FROM hub_events WHERE builder = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                    [builder.into(), before.into(), page.limit.into()],
                )
                .await?,
            None => session
                .query(
                    "SELECT id, at, actor_kind, actor, event, builder, measurement, address, detail
                     FROM hub_events WHERE id < $1 ORDER BY id DESC LIMIT $2",
                    [before.into(), page.limit.into()],
                )
                .await?,
        };
    rows.into_iter().map(event).collect()
}

fn event(mut row: Row) -> Result<Json, Error> {
    Ok(json!({
        "id": row.integer()?,
        "at": text::time(row.integer()?),
        "actor_kind": row.text()?,
        "actor": row.text()?,
        "event": row.text()?,
        "builder": row.optional_text()?,
        "measurement_id": row.optional_text()?,
        "address": row.optional_text()?,
        "detail": row.text()?,
    }))
}

/// Deletes what is older than `before`: events, registrations and documents that were replaced.
pub(crate) struct Prune {
    /// A time; what ended before it goes.
    pub(crate) before: i64,
}

impl Command for Prune {
    type Output = u64;

    async fn run(&self, tx: &mut Session) -> Result<u64, Error> {
        let before = [self.before.into()];
        // In portions, so that nobody waits long for the lock; the caller comes back.
        let events = tx.execute(
            "DELETE FROM hub_events WHERE id IN
             (SELECT id FROM hub_events WHERE at < $1 ORDER BY at LIMIT 5000)",
            before.clone(),
        );
        let events = events.await?;
        let credentials = tx.execute(
            "DELETE FROM hub_credentials WHERE id IN
             (SELECT id FROM hub_credentials WHERE active = 0 AND deprecated_at < $1 LIMIT 5000)",
            before.clone(),
        );
        let credentials = credentials.await?;
        Ok(events.saturating_add(credentials))
    }
}
