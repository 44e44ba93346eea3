//! The whitelist: what nodes may run.
//!
//! I/O: the database.

use serde_json::{Value as Json, json};

use super::events::{Actor, record};
use super::{MOST, Page, all};
use crate::database::{Command, Error, Row, Session};
use crate::matching::Expectation;
use crate::text;

const KIND: &str = "measurement";

/// An entry.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// Its place in the order of entries.
    pub(crate) id: i64,
    /// The image's name.
    pub(crate) name: String,
    /// Which evidence it is about, as written by whoever added it.
    pub(crate) attestation_type: String,
    /// What is expected.
    pub(crate) expectation: Expectation,
    /// Whether nodes that match are let in.
    pub(crate) is_active: bool,
    created_at: i64,
    changed_at: i64,
}

impl Measurement {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.integer()?,
            name: row.text()?,
            attestation_type: row.text()?,
            expectation: expectation(&row.text()?)?,
            is_active: row.boolean()?,
            created_at: row.integer()?,
            changed_at: row.integer()?,
        })
    }

    /// As the public route shows it.
    pub(crate) fn public(&self) -> Json {
        json!({
            "measurement_id": self.name,
            "attestation_type": self.attestation_type,
            "measurements": self.expectation,
        })
    }

    /// As admins see it.
    pub(crate) fn full(&self) -> Json {
        json!({
            "id": self.id,
            "measurement_id": self.name,
            "attestation_type": self.attestation_type,
            "measurements": self.expectation,
            "is_active": self.is_active,
            "created_at": text::time(self.created_at),
            "changed_at": text::time(self.changed_at),
        })
    }
}

fn expectation(stored: &str) -> Result<Expectation, Error> {
    serde_json::from_str(stored).map_err(|error| Error::Shape {
        expected: "the registers of a measurement",
        actual: error.to_string(),
    })
}

/// All active entries, of one kind of evidence or of every kind, in the order of entry.
pub(crate) async fn active(
    session: &mut Session,
    attestation_type: Option<&str>,
) -> Result<Vec<Measurement>, Error> {
    let rows =
        match attestation_type {
            Some(attestation_type) => session
                .query(
                    "SELECT id, name, attestation_type, registers, active, created_at, changed_at
                     FROM hub_measurements WHERE active = 1 AND attestation_type = $1
                     ORDER BY id LIMIT $2",
                    [attestation_type.into(), MOST.into()],
                )
                .await?,
            None => session
                .query(
                    "SELECT id, name, attestation_type, registers, active, created_at, changed_at
                     FROM hub_measurements WHERE active = 1 ORDER BY id LIMIT $1",
                    [MOST.into()],
                )
                .await?,
        };
    all(rows)?.into_iter().map(Measurement::read).collect()
}

/// A part of all entries, in the order of entry.
pub(crate) async fn list(session: &mut Session, page: Page) -> Result<Vec<Measurement>, Error> {
    let rows = session.query(
        "SELECT id, name, attestation_type, registers, active, created_at, changed_at
         FROM hub_measurements WHERE id > $1 ORDER BY id LIMIT $2",
        [page.after.into(), page.limit.into()],
    );
    rows.await?.into_iter().map(Measurement::read).collect()
}

/// One entry.
pub(crate) async fn find(session: &mut Session, name: &str) -> Result<Measurement, Error> {
    let row = session.first(
        "SELECT id, name, attestation_type, registers, active, created_at, changed_at
         FROM hub_measurements WHERE name = $1",
        [name.into()],
    );
    match row.await? {
        Some(row) => Measurement::read(row),
        None => Err(Error::NotFound {
            kind: KIND,
            name: name.to_owned(),
        }),
    }
}

/// How many builders were last heard of running each, by name.
pub(crate) async fn running(session: &mut Session) -> Result<Vec<(String, i64)>, Error> {
    let rows = session.query(
        "SELECT measurement, count(*) FROM hub_contacts GROUP BY measurement ORDER BY measurement
         LIMIT $1",
        [MOST.into()],
    );
    rows.await?
        .into_iter()
        .map(|mut row| Ok((row.text()?, row.integer()?)))
        .collect()
}

/// Adds an entry, inactive.
pub(crate) struct AddMeasurement {
    /// Who adds it.
    pub(crate) actor: Actor,
    /// Its name.
    pub(crate) name: String,
    /// The kind of evidence.
    pub(crate) attestation_type: String,
    /// What is expected.
    pub(crate) expectation: Expectation,
}

impl Command for AddMeasurement {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let now = text::now();
        let registers = serde_json::to_string(&self.expectation).unwrap_or_default();
        let there = tx.first(
            "SELECT id FROM hub_measurements WHERE name = $1",
            [(&self.name).into()],
        );
        if there.await?.is_some() {
            return Err(Error::Exists {
                kind: KIND,
                name: self.name.clone(),
            });
        }
        tx.execute(
            "INSERT INTO hub_measurements
             (name, attestation_type, registers, created_at, changed_at)
             VALUES ($1, $2, $3, $4, $5)",
            [
                (&self.name).into(),
                (&self.attestation_type).into(),
                registers.into(),
                now.into(),
                now.into(),
            ],
        )
        .await?;
        record(tx, &self.actor.did("AddMeasurement", &self.name)).await
    }
}

/// Lets nodes that match an entry in, or no longer.
pub(crate) struct ActivateMeasurement {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which entry.
    pub(crate) name: String,
    /// In, or not.
    pub(crate) enabled: bool,
    /// Whether an entry that matches everything may be activated.
    pub(crate) allows_anything: bool,
}

impl Command for ActivateMeasurement {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let entry = find(tx, &self.name).await?;
        if self.enabled && entry.expectation.is_anything() && !self.allows_anything {
            let refused = "it names no register, so that every machine would match; \
                           the hub was not started with --danger-accept-any-measurement";
            return Err(Error::Refused(refused.to_owned()));
        }
        tx.execute(
            "UPDATE hub_measurements SET active = $2, changed_at = $3 WHERE name = $1",
            [(&self.name).into(), self.enabled.into(), text::now().into()],
        )
        .await?;
        let event = if self.enabled {
            "ActivateMeasurement"
        } else {
            "DeactivateMeasurement"
        };
        record(tx, &self.actor.did(event, &self.name)).await
    }
}

/// Deletes an entry that isn't active.
pub(crate) struct DeleteMeasurement {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which.
    pub(crate) name: String,
}

impl Command for DeleteMeasurement {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        if find(tx, &self.name).await?.is_active {
            return Err(Error::Refused(
                "it is active: deactivate it first".to_owned(),
            ));
        }
        let name = [(&self.name).into()];
        tx.execute("DELETE FROM hub_measurements WHERE name = $1", name.clone())
            .await?;
        record(tx, &self.actor.did("DeleteMeasurement", &self.name)).await
    }
}
