//! What nodes register for their services.
//!
//! I/O: the database.

use serde_json::{Value as Json, json};

use super::Page;
use super::events::{Actor, record};
use crate::database::{Command, Error, Session};
use crate::text;

/// Registers a service's credentials, in place of the former.
pub(crate) struct Register {
    /// The node.
    pub(crate) actor: Actor,
    /// Its builder.
    pub(crate) builder: String,
    /// The service.
    pub(crate) service: String,
    /// A certificate, as PEM.
    pub(crate) tls_cert: Option<String>,
    /// When it ends.
    pub(crate) not_after: Option<i64>,
    /// An Ethereum address, lower case.
    pub(crate) ecdsa_address: Option<String>,
    /// Where the service is.
    pub(crate) region: String,
    /// Whether the certificate's key was proven to be the node's.
    pub(crate) is_proven: bool,
}

impl Command for Register {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        let now = text::now();
        tx.execute(
            "UPDATE hub_credentials SET active = 0, deprecated_at = $3
             WHERE builder = $1 AND service = $2 AND active = 1",
            [(&self.builder).into(), (&self.service).into(), now.into()],
        )
        .await?;
        tx.execute(
            "INSERT INTO hub_credentials
             (builder, service, tls_cert, ecdsa_address, region, measurement, is_proven, not_after,
              created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [
                (&self.builder).into(),
                (&self.service).into(),
                self.tls_cert.clone().into(),
                self.ecdsa_address.clone().into(),
                (&self.region).into(),
                self.actor.measurement.clone().into(),
                self.is_proven.into(),
                self.not_after.into(),
                now.into(),
            ],
        )
        .await?;
        let event = self
            .actor
            .did_to(&self.builder, "RegisterCredentials", &self.service);
        record(tx, &event).await
    }
}

/// Everything that a builder registered, the latest first.
pub(crate) async fn history(
    session: &mut Session,
    builder: &str,
    page: Page,
) -> Result<Vec<Json>, Error> {
    let before = page.before();
    let rows = session.query(
        "SELECT id, service, tls_cert, ecdsa_address, region, measurement, is_proven, not_after,
                active, created_at, deprecated_at
         FROM hub_credentials WHERE builder = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        [builder.into(), before.into(), page.limit.into()],
    );
    let entries = rows.await?.into_iter().map(|mut row| {
        Ok(json!({
            "id": row.integer()?,
            "service": row.text()?,
            "tls_cert": row.optional_text()?,
            "ecdsa_pubkey_address": row.optional_text()?,
            "region": row.text()?,
            "measurement_id": row.optional_text()?,
            "is_proven": row.boolean()?,
            "certificate_expires": row.optional_integer()?.map(text::time),
            "is_active": row.boolean()?,
            "created_at": text::time(row.integer()?),
            "deprecated_at": row.optional_integer()?.map(text::time),
        }))
    });
    entries.collect()
}
