//! JSON documents that are set and replaced: the layers of configurations, secrets, required keys.
//!
//! Of each kind and owner one is active; what it replaced stays as history. Secrets are sealed for
//! their kind and owner.
//!
//! I/O: the database.

use serde_json::{Value as Json, json};

use super::Page;
use super::events::{Actor, record};
use crate::database::{Command, Error, Row, Session, Value};
use crate::sealing::{Keys, Sealed};
use crate::text;

/// What a document is. Its owner is a builder or a network, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Below everything.
    Defaults,
    /// Over the defaults, for a network.
    Network,
    /// Over these, for a builder.
    Builder,
    /// Over these, for everybody.
    DefaultSecrets,
    /// Over everything, for a builder.
    Secrets,
    /// The required keys of a network.
    Required,
}

impl Kind {
    /// As stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Network => "network",
            Self::Builder => "builder",
            Self::DefaultSecrets => "default-secrets",
            Self::Secrets => "secrets",
            Self::Required => "required",
        }
    }

    fn is_secret(self) -> bool {
        matches!(self, Self::DefaultSecrets | Self::Secrets)
    }

    fn is_of_builder(self) -> bool {
        matches!(self, Self::Builder | Self::Secrets)
    }

    /// What its events are called, set and deleted.
    fn events(self) -> (&'static str, &'static str) {
        match self {
            Self::Defaults => ("SetDefaults", "DeleteDefaults"),
            Self::Network => ("SetNetworkConfig", "DeleteNetworkConfig"),
            Self::Builder => ("SetConfig", "DeleteConfig"),
            Self::DefaultSecrets => ("SetDefaultSecrets", "DeleteDefaultSecrets"),
            Self::Secrets => ("SetSecrets", "DeleteSecrets"),
            Self::Required => ("SetRequiredKeys", "DeleteRequiredKeys"),
        }
    }

    fn not_found(self, owner: &str) -> Error {
        let kind = match self {
            Self::Defaults => "default configuration",
            Self::Network => "configuration of network",
            Self::Builder => "active configuration of builder",
            Self::DefaultSecrets => "default secrets",
            Self::Secrets => "secrets of builder",
            Self::Required => "list of required keys of network",
        };
        Error::NotFound {
            kind,
            name: owner.to_owned(),
        }
    }
}

/// What sealing binds a secret to.
fn context(kind: &str, owner: &str) -> String {
    format!("builderhub document v1\n{kind}\n{owner}")
}

/// Opens a stored document, if it is sealed, and parses it.
pub(crate) fn open(
    keys: &Keys,
    kind: &str,
    owner: &str,
    body: Vec<u8>,
    key_id: Option<String>,
) -> Result<Json, Error> {
    let body = match key_id {
        Some(key_id) => keys.open(
            &context(kind, owner),
            &Sealed {
                key_id,
                bytes: body,
            },
        )?,
        None => body,
    };
    // The parser's error could quote a secret.
    let parsed = serde_json::from_slice(&body);
    parsed.map_err(|_| Error::Shape {
        expected: "JSON",
        actual: format!("other {kind}"),
    })
}

/// The active document.
pub(crate) async fn find(
    session: &mut Session,
    keys: &Keys,
    kind: Kind,
    owner: &str,
) -> Result<Json, Error> {
    let row = session.first(
        "SELECT body, key_id FROM hub_documents WHERE kind = $1 AND owner = $2 AND active = 1",
        [kind.as_str().into(), owner.into()],
    );
    let mut row = row.await?.ok_or_else(|| kind.not_found(owner))?;
    open(
        keys,
        kind.as_str(),
        owner,
        row.bytes()?,
        row.optional_text()?,
    )
}

/// What was set for a builder and when, the latest first, without what it was.
pub(crate) async fn history(
    session: &mut Session,
    builder: &str,
    page: Page,
) -> Result<Vec<Json>, Error> {
    let before = page.before();
    let rows = session.query(
        "SELECT id, kind, active, key_id, created_at, deprecated_at FROM hub_documents
         WHERE owner = $1 AND kind IN ('builder', 'secrets') AND id < $2 ORDER BY id DESC LIMIT $3",
        [builder.into(), before.into(), page.limit.into()],
    );
    let entries = rows.await?.into_iter().map(|mut row| {
        Ok(json!({
            "id": row.integer()?,
            "kind": row.text()?,
            "is_active": row.boolean()?,
            "key_id": row.optional_text()?,
            "created_at": text::time(row.integer()?),
            "deprecated_at": row.optional_integer()?.map(text::time),
        }))
    });
    entries.collect()
}

/// An earlier configuration of a builder. Secrets of the past are not shown to anybody.
pub(crate) async fn earlier(session: &mut Session, builder: &str, id: i64) -> Result<Json, Error> {
    let row = session.first(
        "SELECT body FROM hub_documents WHERE id = $1 AND kind = 'builder' AND owner = $2",
        [id.into(), builder.into()],
    );
    let row: Option<Row> = row.await?;
    let Some(mut row) = row else {
        return Err(Error::NotFound {
            kind: "configuration",
            name: id.to_string(),
        });
    };
    let parsed = serde_json::from_slice(&row.bytes()?);
    parsed.map_err(|_| Error::Shape {
        expected: "JSON",
        actual: "other text".to_owned(),
    })
}

/// Sets a document.
pub(crate) struct SetDocument<'a> {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which.
    pub(crate) kind: Kind,
    /// Whose.
    pub(crate) owner: String,
    /// What.
    pub(crate) body: Json,
    /// What seals it.
    pub(crate) keys: &'a Keys,
}

impl Command for SetDocument<'_> {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        if self.kind.is_of_builder() {
            super::builders::find(tx, &self.owner).await?;
        }
        let kind = self.kind.as_str();
        let plain = self.body.to_string().into_bytes();
        let (body, key_id) = if self.kind.is_secret() {
            let sealed = self.keys.seal(&context(kind, &self.owner), &plain)?;
            (sealed.bytes, Value::from(sealed.key_id))
        } else {
            (plain, Value::Null)
        };
        let now = text::now();
        deactivate(tx, self.kind, &self.owner, now).await?;
        tx.execute(
            "INSERT INTO hub_documents (kind, owner, body, key_id, created_at)
             VALUES ($1, $2, $3, $4, $5)",
            [
                kind.into(),
                (&self.owner).into(),
                body.into(),
                key_id,
                now.into(),
            ],
        )
        .await?;
        trace(
            tx,
            &self.actor,
            self.kind,
            &self.owner,
            self.kind.events().0,
        )
        .await
    }
}

/// Takes a document away; it stays as history.
pub(crate) struct DeleteDocument {
    /// Who does.
    pub(crate) actor: Actor,
    /// Which.
    pub(crate) kind: Kind,
    /// Whose.
    pub(crate) owner: String,
}

impl Command for DeleteDocument {
    type Output = ();

    async fn run(&self, tx: &mut Session) -> Result<(), Error> {
        if deactivate(tx, self.kind, &self.owner, text::now()).await? == 0 {
            return Err(self.kind.not_found(&self.owner));
        }
        trace(
            tx,
            &self.actor,
            self.kind,
            &self.owner,
            self.kind.events().1,
        )
        .await
    }
}

async fn deactivate(tx: &mut Session, kind: Kind, owner: &str, now: i64) -> Result<u64, Error> {
    tx.execute(
        "UPDATE hub_documents SET active = 0, deprecated_at = $3
         WHERE kind = $1 AND owner = $2 AND active = 1",
        [kind.as_str().into(), owner.into(), now.into()],
    )
    .await
}

async fn trace(
    tx: &mut Session,
    actor: &Actor,
    kind: Kind,
    owner: &str,
    event: &'static str,
) -> Result<(), Error> {
    let event = if kind.is_of_builder() {
        actor.did_to(owner, event, "")
    } else {
        actor.did(event, owner)
    };
    record(tx, &event).await
}

/// Seals with the current key what was sealed with another one, a portion at a time, and says how
/// many documents that was; 0 means that none is left.
pub(crate) struct Reseal<'a> {
    /// Who does.
    pub(crate) actor: Actor,
    /// What opens and seals.
    pub(crate) keys: &'a Keys,
}

impl Command for Reseal<'_> {
    type Output = u64;

    async fn run(&self, tx: &mut Session) -> Result<u64, Error> {
        let rows = tx.query(
            "SELECT id, kind, owner, body, key_id FROM hub_documents
             WHERE key_id IS NOT NULL AND key_id <> $1 ORDER BY id LIMIT 500",
            [self.keys.current().into()],
        );
        let mut resealed: u64 = 0;
        for mut row in rows.await? {
            let (id, kind, owner) = (row.integer()?, row.text()?, row.text()?);
            let sealed = Sealed {
                bytes: row.bytes()?,
                key_id: row.text()?,
            };
            let context = context(&kind, &owner);
            let plain = self.keys.open(&context, &sealed)?;
            let Sealed { key_id, bytes } = self.keys.seal(&context, &plain)?;
            tx.execute(
                "UPDATE hub_documents SET body = $2, key_id = $3 WHERE id = $1",
                [id.into(), bytes.into(), key_id.into()],
            )
            .await?;
            resealed = resealed.saturating_add(1);
        }
        if resealed > 0 {
            let detail = format!("{resealed} documents under key {}", self.keys.current());
            record(tx, &self.actor.did("RotateSecretsKey", detail)).await?;
        }
        Ok(resealed)
    }
}
