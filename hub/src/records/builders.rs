//! Builders: who gets which configuration, found by the address that a request comes from.
//!
//! I/O: the database.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use super::events::{Actor, record};
use super::{MOST, Page, all};
use crate::configuration::Sources;
use crate::database::{Command, Error, Row, Session};
use crate::required::When;
use crate::text;

const KIND: &str = "builder";

/// A builder.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    /// Its place in the order of entry.
    pub(crate) id: i64,
    /// Its name.
    pub(crate) name: String,
    /// Its address, in canonical form.
    pub(crate) ip: String,
    /// Its DNS name, perhaps empty.
    pub(crate) dns_name: String,
    /// With whom it shares.
    pub(crate) network: String,
    /// Whether it is served.
    pub(crate) is_active: bool,
    created_at: i64,
    changed_at: i64,
}

impl Builder {
    fn read(mut row: Row) -> Result<Self, Error> {
        Self::take(&mut row)
    }

    fn take(row: &mut Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.integer()?,
            name: row.text()?,
            ip: row.text()?,
            dns_name: row.optional_text()?.unwrap_or_default(),
            network: row.text()?,
            is_active: row.boolean()?,
            created_at: row.integer()?,
            changed_at: row.integer()?,
        })
    }

    /// Its address, which was parsed before it was stored.
    pub(crate) fn address(&self) -> Result<IpAddr, Error> {
        let parsed = self.ip.parse();
        parsed.map_err(|_| Error::Shape {
            expected: "an address",
            actual: self.ip.clone(),
        })
    }

    /// As admins see it.
    pub(crate) fn full(&self) -> Json {
        json!({
            "id": self.id,
            "name": self.name,
            "ip_address": self.ip,
            "dns_name": self.dns_name,
            "network": self.network,
            "is_active": self.is_active,
            "created_at": text::time(self.created_at),
            "changed_at": text::time(self.changed_at),
        })
    }
}

/// The active builder at an address; of several, the one that was added first.
pub(crate) async fn at(session: &mut Session, ip: IpAddr) -> Result<Option<Builder>, Error> {
    let row = session.first(
        "SELECT id, name, ip, dns_name, network, active, created_at, changed_at
         FROM hub_builders WHERE active = 1 AND ip = $1 ORDER BY id LIMIT 1",
        [ip.to_string().into()],
    );
    row.await?.map(Builder::read).transpose()
}

/// One builder.
pub(crate) async fn find(session: &mut Session, name: &str) -> Result<Builder, Error> {
    let row = session.first(
        "SELECT id, name, ip, dns_name, network, active, created_at, changed_at
         FROM hub_builders WHERE name = $1",
        [name.into()],
    );
    match row.await? {
        Some(row) => Builder::read(row),
        None => Err(Error::NotFound {
            kind: KIND,
            name: name.to_owned(),
        }),
    }
}

/// A part of all builders, each with when it was last heard of.
pub(crate) async fn list(session: &mut Session, page: Page) -> Result<Vec<Json>, Error> {
    let rows = session.query(
        "SELECT b.id, b.name, b.ip, b.dns_name, b.network, b.active, b.created_at, b.changed_at,
                c.at, c.measurement,
                (SELECT min(not_after) FROM hub_credentials k
                 WHERE k.builder = b.name AND k.active = 1)
         FROM hub_builders b LEFT JOIN hub_contacts c ON c.builder = b.name
         WHERE b.id > $1 ORDER BY b.id LIMIT $2",
        [page.after.into(), page.limit.into()],
    );
    let builders = rows.await?.into_iter().map(|mut row| {
        let mut builder = Builder::take(&mut row)?.full();
        let contact = row.optional_integer()?.map(text::time);
        if let Json::Object(members) = &mut builder {
            members.insert("last_contact".to_owned(), json!(contact));
            members.insert("measurement_id".to_owned(), json!(row.optional_text()?));
            let ends = row.optional_integer()?.map(text::time);
            members.insert("certificate_expires".to_owned(), json!(ends));
        }
        Ok(builder)
    });
    builders.collect()
}

/// The active builders of a network with their active credentials, flat, as the wire wants them:
/// a builder that never registered anything is there, one whose registrations have all ended isn't.
pub(crate) async fn peers(session: &mut Session, network: &str) -> Result<Vec<Json>, Error> {
    let rows = session.query(
        "SELECT b.name, b.ip, b.dns_name, c.service, c.tls_cert, c.ecdsa_address, c.region
         FROM hub_builders b LEFT JOIN hub_credentials c ON c.builder = b.name AND c.active = 1
         WHERE b.active = 1 AND b.network = $1 AND (c.id IS NOT NULL OR NOT EXISTS
               (SELECT 1 FROM hub_credentials o WHERE o.builder = b.name))
         ORDER BY b.id, c.service LIMIT $2",
        [network.into(), MOST.into()],
    );
    let mut peers: Vec<Map<String, Json>> = Vec::new();
    for mut row in all(rows.await?)? {
        let name = row.text()?;
        let ip = row.text()?;
        let dns_name = row.optional_text()?.unwrap_or_default();
        let is_same = |peer: &Map<String, Json>| peer.get("name").is_some_and(|n| *n == *name);
        if !peers.last().is_some_and(is_same) {
            let base = [("name", name), ("ip", ip), ("dns_name", dns_name)];
            let base = base
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()));
            peers.push(base.collect());
        }
        let Some(service) = row.optional_text()? else {
            continue;
        };
        let mut credentials = Map::new();
        for key in ["tls_cert", "ecdsa_pubkey_address", "region"] {
            if let Some(value) = row.optional_text()?.filter(|value| !value.is_empty()) {
                credentials.insert(key.to_owned(), value.into());
            }
        }
        if let Some(peer) = peers.last_mut() {
            // A service called `name` must not take the builder's place.
            peer.entry(service).or_insert(Json::Object(credentials));
        }
    }
    Ok(peers.into_iter().map(Json::Object).collect())
}

/// Adds a builder, inactive.
pub(crate) struct AddBuilder {
    /// Who adds it.
    pub(crate) actor: Actor,
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its DNS name, perhaps empty.
    pub(crate) dns_name: String,
    /// Its network.
    pub(crate) network: String,
}

impl Command for AddBuilder {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let name = [(&self.name).into()];
        if tx
            .first("SELECT id FROM hub_builders WHERE name = $1", name.clone())
            .await?
            .is_some()
        {
            return Err(Error::Exists {
                kind: KIND,
                name: self.name.clone(),
            });
        }
        let now = text::now();
        tx.execute(
            "INSERT INTO hub_builders (name, ip, dns_name, network, created_at, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (&self.name).into(),
                self.ip.to_canonical().to_string().into(),
                (&self.dns_name).into(),
                (&self.network).into(),
                now.into(),
                now.into(),
            ],
        )
        .await?;
        let detail = format!("{} in {}", self.ip, self.network);
        record(tx, &self.actor.did_to(&self.name, "AddBuilder", detail)).await
    }
}

/// Has a builder served, or no longer.
pub(crate) struct ActivateBuilder<'a> {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which builder.
    pub(crate) name: String,
    /// Served, or not.
    pub(crate) enabled: bool,
    /// What its configuration is made with.
    pub(crate) sources: &'a Sources,
}

impl Command for ActivateBuilder<'_> {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let builder = find(tx, &self.name).await?;
        if self.enabled {
            let configuration = self
                .sources
                .assemble(tx, &builder.name, &builder.network)
                .await?;
            configuration
                .check(When::Activation)
                .map_err(|lack| Error::Refused(lack.to_string()))?;
        }
        tx.execute(
            "UPDATE hub_builders SET active = $2, changed_at = $3 WHERE name = $1",
            [(&self.name).into(), self.enabled.into(), text::now().into()],
        )
        .await?;
        let event = if self.enabled {
            "ActivateBuilder"
        } else {
            "DeactivateBuilder"
        };
        record(tx, &self.actor.did_to(&self.name, event, "")).await
    }
}

/// Deletes a builder that isn't active, with its credentials, configurations and secrets; what it
/// did stays in the log.
pub(crate) struct DeleteBuilder {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which.
    pub(crate) name: String,
}

impl Command for DeleteBuilder {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        if find(tx, &self.name).await?.is_active {
            return Err(Error::Refused(
                "it is active: deactivate it first".to_owned(),
            ));
        }
        let name = [(&self.name).into()];
        tx.execute(
            "DELETE FROM hub_documents WHERE owner = $1 AND kind IN ('builder', 'secrets')",
            name.clone(),
        )
        .await?;
        tx.execute("DELETE FROM hub_builders WHERE name = $1", name.clone())
            .await?;
        record(tx, &self.actor.did_to(&self.name, "DeleteBuilder", "")).await
    }
}
