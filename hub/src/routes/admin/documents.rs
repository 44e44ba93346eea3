//! Configurations, secrets and required keys.
//!
//! I/O: the database.

use serde_json::json;

use super::{done, entries};
use crate::configuration::{Configuration, Lack};
use crate::database::Error;
use crate::hub::Hub;
use crate::records::builders;
use crate::records::documents::{self, DeleteDocument, Kind, Reseal, SetDocument};
use crate::reply::{Failure, Reply, json_ok};
use crate::required::{Required, When};
use crate::routes::Call;
use crate::text::is_name;

/// The builder's own layer.
pub(super) async fn active(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    show(hub, call, Kind::Builder).await
}

/// All layers, for an admin to look at.
pub(super) async fn full(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let configuration = assemble(hub, call).await?;
    if !configuration.has_own() {
        let name = call.parameters.named("name").to_owned();
        return Err(Error::NotFound {
            kind: "active configuration of builder",
            name,
        }
        .into());
    }
    // Secrets were shown: that is an event.
    let name = call.parameters.named("name");
    hub.events
        .write(call.admin().did_to(name, "ShowFullConfig", ""))
        .await
        .map_err(|_| Failure::new(hyper::StatusCode::INTERNAL_SERVER_ERROR, "internal error"))?;
    Ok(json_ok(configuration.merged()))
}

/// Whether it would be delivered.
pub(super) async fn check(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let configuration = assemble(hub, call).await?;
    let missing = match configuration.check(When::Delivery) {
        Ok(_) => Vec::new(),
        Err(Lack::Keys(missing)) => missing,
        Err(lack @ Lack::Configuration(_)) => vec![lack.to_string()],
    };
    Ok(json_ok(
        &json!({"is_deliverable": missing.is_empty(), "missing": missing}),
    ))
}

async fn assemble(hub: &Hub, call: &Call) -> Result<Configuration, Failure> {
    let mut session = hub.database.read().await?;
    let builder = builders::find(&mut session, call.parameters.named("name")).await?;
    Ok(hub
        .sources
        .assemble(&mut session, &builder.name, &builder.network)
        .await?)
}

pub(super) async fn earlier(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let (name, id) = (call.parameters.named("name"), call.parameters.named("id"));
    let missing = || Error::NotFound {
        kind: "configuration",
        name: id.to_owned(),
    };
    let number = id.parse::<i64>().map_err(|_| missing())?;
    let mut session = hub.database.read().await?;
    Ok(json_ok(
        &documents::earlier(&mut session, name, number).await?,
    ))
}

pub(super) async fn history(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let name = call.parameters.named("name");
    let mut session = hub.database.read().await?;
    builders::find(&mut session, name).await?;
    Ok(entries(
        documents::history(&mut session, name, call.page()?).await?,
    ))
}

pub(super) async fn show(hub: &Hub, call: &Call, kind: Kind) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let document = documents::find(&mut session, &hub.sources.keys, kind, owner(call, kind)).await;
    Ok(json_ok(&document?))
}

pub(super) async fn set(hub: &Hub, call: &Call, kind: Kind) -> Result<Reply, Failure> {
    let owner = owner(call, kind).to_owned();
    if kind != Kind::Defaults && kind != Kind::DefaultSecrets && !is_name(&owner) {
        return Err(Failure::bad_request("bad name", "expected a short name"));
    }
    let body = call.json()?;
    if kind == Kind::Required {
        Required::parse(body.clone())
            .map_err(|reason| Failure::bad_request("bad list of required keys", reason))?;
    }
    let set = SetDocument {
        actor: call.admin(),
        kind,
        owner,
        body,
        keys: &hub.sources.keys,
    };
    hub.database.write(&set).await?;
    Ok(done())
}

pub(super) async fn delete(hub: &Hub, call: &Call, kind: Kind) -> Result<Reply, Failure> {
    let owner = owner(call, kind).to_owned();
    hub.database
        .write(&DeleteDocument {
            actor: call.admin(),
            kind,
            owner,
        })
        .await?;
    Ok(done())
}

/// Seals everything with the current key, a portion at a time.
pub(super) async fn rotate(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let reseal = Reseal {
        actor: call.admin(),
        keys: &hub.sources.keys,
    };
    let mut all: u64 = 0;
    loop {
        match hub.database.write(&reseal).await? {
            0 => break,
            some => all = all.saturating_add(some),
        }
    }
    Ok(json_ok(
        &json!({"resealed": all, "key_id": hub.sources.keys.current()}),
    ))
}

fn owner(call: &Call, kind: Kind) -> &str {
    call.parameters.named(match kind {
        Kind::Builder | Kind::Secrets => "name",
        Kind::Network | Kind::Required => "network",
        Kind::Defaults | Kind::DefaultSecrets => "",
    })
}
