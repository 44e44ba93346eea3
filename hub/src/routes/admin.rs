//! What admins ask.
//!
//! I/O: the database.

mod builders;
mod documents;
mod measurements;

use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::Call;
use super::table::AdminAction as Do;
use crate::hub::Hub;
use crate::records::{credentials, events};
use crate::reply::{Failure, Reply, empty, json_ok};

pub(super) async fn answer(hub: &Hub, action: Do, call: &Call) -> Result<Reply, Failure> {
    match action {
        Do::ListMeasurements => measurements::list(hub, call).await,
        Do::ShowMeasurement => measurements::show(hub, call).await,
        Do::AddMeasurement => measurements::add(hub, call).await,
        Do::ActivateMeasurement => measurements::activate(hub, call).await,
        Do::DeleteMeasurement => measurements::delete(hub, call).await,
        Do::ListBuilders => builders::list(hub, call).await,
        Do::ShowBuilder => builders::show(hub, call).await,
        Do::AddBuilder => builders::add(hub, call).await,
        Do::ActivateBuilder => builders::activate(hub, call).await,
        Do::DeleteBuilder => builders::delete(hub, call).await,
        Do::ActiveConfiguration => documents::active(hub, call).await,
        Do::FullConfiguration => documents::full(hub, call).await,
        Do::EarlierConfiguration => documents::earlier(hub, call).await,
        Do::CheckConfiguration => documents::check(hub, call).await,
        Do::DocumentHistory => documents::history(hub, call).await,
        Do::ShowDocument(kind) => documents::show(hub, call, kind).await,
        Do::SetDocument(kind) => documents::set(hub, call, kind).await,
        Do::DeleteDocument(kind) => documents::delete(hub, call, kind).await,
        Do::RotateSecrets => documents::rotate(hub, call).await,
        Do::Credentials => registered(hub, call).await,
        Do::BuilderEvents => log(hub, call, Some(call.parameters.named("name"))).await,
        Do::Events => log(hub, call, None).await,
    }
}

async fn registered(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let name = call.parameters.named("name");
    let mut session = hub.database.read().await?;
    crate::records::builders::find(&mut session, name).await?;
    let history = credentials::history(&mut session, name, call.page()?).await?;
    Ok(entries(history))
}

async fn log(hub: &Hub, call: &Call, builder: Option<&str>) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    Ok(entries(
        events::list(&mut session, builder, call.page()?).await?,
    ))
}

/// A page of a list: `after` is what to ask for the next one with, `null` if this is the last.
fn entries(list: Vec<Json>) -> Reply {
    let after = list.last().and_then(|entry| entry.get("id")).cloned();
    json_ok(&json!({"entries": list, "after": after}))
}

fn done() -> Reply {
    empty(StatusCode::OK)
}
