//! `builderhub import`: takes over an existing hub's PostgreSQL database.
//!
//! Reads its tables (they may be in the same database as ours, whose names begin with `hub_`) and
//! writes everything in one transaction, into a hub that has nothing yet: measurements, builders,
//! configurations and registrations, active or not, with their times. Columns that older versions
//! lack have their defaults.
//!
//! Left out: secrets, which existing hubs keep elsewhere; the event log.
//!
//! I/O: both databases.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::Value as Json;

use crate::database::postgres::Postgres;
use crate::database::{Command, Database, Error, Session, Value};
use crate::matching::Expectation;
use crate::records::events::{Actor, record};
use crate::serve::DatabaseArguments;

/// Takes over an existing hub's database
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// Of the existing hub, postgres://USER@HOST/NAME
    #[arg(long, value_name = "URL")]
    from: String,

    /// PEM file with the roots that its certificate must have (default: the system's)
    #[arg(long, value_name = "FILE")]
    from_ca: Option<PathBuf>,

    #[command(flatten)]
    database: DatabaseArguments,
}

/// A row, as JSON by column, with when it was made.
type Found = (Json, i64);

/// Everything that is taken over.
struct Everything {
    measurements: Vec<Found>,
    builders: Vec<Found>,
    configurations: Vec<Found>,
    credentials: Vec<Found>,
}

/// Imports, and says how much.
pub(crate) async fn run(arguments: ImportArguments) -> anyhow::Result<()> {
    let from = Postgres::new(&arguments.from, arguments.from_ca.as_deref(), 1)?;
    let connection = from
        .connection()
        .await
        .context("connect to the existing database")?;
    let mut session = Session::Postgres(connection);
    let everything = read(&mut session)
        .await
        .context("read the existing database")?;
    drop(session);
    let database = &arguments.database;
    let ca = database.postgres_ca.as_deref();
    let database = Database::open(database.location(), ca, database.connections).await?;
    database.write(&everything).await.context("write")?;
    println!(
        "imported {} measurements, {} builders, {} configurations, {} registrations",
        everything.measurements.len(),
        everything.builders.len(),
        everything.configurations.len(),
        everything.credentials.len()
    );
    Ok(())
}

async fn read(session: &mut Session) -> Result<Everything, Error> {
    // Whole rows as JSON: which columns there are differs between versions.
    let measurements = rows(
        session,
        "SELECT to_jsonb(t)::text, (extract(epoch FROM created_at) * 1000000)::bigint
         FROM measurements_whitelist t ORDER BY id",
    );
    let measurements = measurements.await?;
    let builders = rows(
        session,
        "SELECT to_jsonb(t)::text, (extract(epoch FROM created_at) * 1000000)::bigint
         FROM builders t ORDER BY created_at, name",
    );
    let builders = builders.await?;
    let configurations = rows(
        session,
        "SELECT to_jsonb(t)::text, (extract(epoch FROM created_at) * 1000000)::bigint
         FROM builder_configs t ORDER BY id",
    );
    let configurations = configurations.await?;
    let credentials = rows(
        session,
        "SELECT (to_jsonb(t) || jsonb_build_object('measurement', m.name))::text,
                (extract(epoch FROM t.created_at) * 1000000)::bigint
         FROM service_credential_registrations t
         LEFT JOIN measurements_whitelist m ON m.id = t.measurement_id ORDER BY t.id",
    );
    let credentials = credentials.await?;
    Ok(Everything {
        measurements,
        builders,
        configurations,
        credentials,
    })
}

async fn rows(session: &mut Session, sql: &'static str) -> Result<Vec<Found>, Error> {
    let rows = session.query(sql, []).await?.into_iter().map(|mut row| {
        let parsed = serde_json::from_str(&row.text()?);
        let shape = |_| Error::Shape {
            expected: "JSON",
            actual: "other text".to_owned(),
        };
        Ok((parsed.map_err(shape)?, row.integer()?))
    });
    rows.collect()
}

impl Command for Everything {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let there = tx.first(
            "SELECT name FROM hub_builders UNION SELECT name FROM hub_measurements LIMIT 1",
            [],
        );
        if there.await?.is_some() {
            return Err(Error::Refused(
                "there are builders or measurements already".to_owned(),
            ));
        }
        for (row, at) in &self.measurements {
            measurement(tx, row, *at).await?;
        }
        for (row, at) in &self.builders {
            builder(tx, row, *at).await?;
        }
        for (row, at) in &self.configurations {
            configuration(tx, row, *at).await?;
        }
        for (row, at) in &self.credentials {
            credentials(tx, row, *at).await?;
        }
        let (name, address) = ("import".to_owned(), String::new());
        let actor = Actor {
            kind: "hub",
            name,
            address,
            measurement: None,
        };
        record(tx, &actor.did("Import", "")).await
    }
}

async fn measurement(tx: &mut Session, row: &Json, at: i64) -> Result<(), Error> {
    let (name, kind) = (text_of(row, "name")?, text_of(row, "attestation_type")?);
    let registers = row.get("measurement").cloned().unwrap_or_default();
    // Stored as it is read, so that it matches what it has matched; a malformed one stops us.
    let expectation = Expectation::parse(&kind, &registers);
    let expectation =
        expectation.map_err(|reason| Error::Refused(format!("measurement {name:?}: {reason}")))?;
    let registers = serde_json::to_string(&expectation).unwrap_or_default();
    tx.execute(
        "INSERT INTO hub_measurements
         (name, attestation_type, registers, active, created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        [
            name.into(),
            kind.into(),
            registers.into(),
            active(row),
            at.into(),
            at.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn builder(tx: &mut Session, row: &Json, at: i64) -> Result<(), Error> {
    let (name, ip) = (text_of(row, "name")?, text_of(row, "ip_address")?);
    // PostgreSQL shows an address of a whole network with the network's size.
    let ip = ip
        .split('/')
        .next()
        .unwrap_or_default()
        .parse::<std::net::IpAddr>();
    let ip = ip.map_err(|_| Error::Refused(format!("builder {name:?}: expected an address")))?;
    let network = optional(row, "network").unwrap_or_else(|| "production".to_owned());
    tx.execute(
        "INSERT INTO hub_builders (name, ip, dns_name, network, active, created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            name.into(),
            ip.to_canonical().to_string().into(),
            optional(row, "dns_name").unwrap_or_default().into(),
            network.into(),
            active(row),
            at.into(),
            at.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn configuration(tx: &mut Session, row: &Json, at: i64) -> Result<(), Error> {
    let body = row
        .get("config")
        .cloned()
        .unwrap_or_default()
        .to_string()
        .into_bytes();
    tx.execute(
        "INSERT INTO hub_documents (kind, owner, body, active, created_at)
         VALUES ('builder', $1, $2, $3, $4)",
        [
            text_of(row, "builder_name")?.into(),
            body.into(),
            active(row),
            at.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn credentials(tx: &mut Session, row: &Json, at: i64) -> Result<(), Error> {
    let certificate = optional(row, "tls_cert").filter(|pem| !pem.is_empty());
    let parsed = certificate
        .as_deref()
        .map(crate::certificate::Parsed::parse);
    let not_after = parsed.and_then(Result::ok).map(|parsed| parsed.not_after());
    // How PostgreSQL shows bytes.
    let address = optional(row, "ecdsa_pubkey");
    let address = address.and_then(|hex| Some(format!("0x{}", hex.strip_prefix("\\x")?)));
    tx.execute(
        "INSERT INTO hub_credentials (builder, service, tls_cert, ecdsa_address, region,
                                      measurement, not_after, active, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            text_of(row, "builder_name")?.into(),
            text_of(row, "service")?.into(),
            certificate.into(),
            address.into(),
            optional(row, "region").unwrap_or_default().into(),
            optional(row, "measurement").into(),
            not_after.into(),
            active(row),
            at.into(),
        ],
    )
    .await?;
    Ok(())
}

fn active(row: &Json) -> Value {
    row.get("is_active")
        .and_then(Json::as_bool)
        .unwrap_or(false)
        .into()
}

fn optional(row: &Json, column: &str) -> Option<String> {
    row.get(column).and_then(Json::as_str).map(str::to_owned)
}

fn text_of(row: &Json, column: &'static str) -> Result<String, Error> {
    let found = optional(row, column);
    found.ok_or_else(|| Error::Shape {
        expected: column,
        actual: "nothing".to_owned(),
    })
}
