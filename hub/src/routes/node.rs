//! What nodes ask: their configuration and their peers.
//!
//! I/O: the database.

use hyper::StatusCode;

use super::{Call, shared};
use crate::database::Session;
use crate::hub::Hub;
use crate::records::builders::{self, Builder};
use crate::records::events::Actor;
use crate::records::measurements;
use crate::reply::{Failure, Reply, empty, json_ok};
use crate::required::When;

/// A node that is let in.
pub(super) struct Node {
    pub(super) builder: Builder,
    pub(super) actor: Actor,
}

/// Finds the measurement that a node runs, then the builder at its address. `None` if either isn't
/// active; the order of entry decides between several.
pub(super) async fn authenticate(
    session: &mut Session,
    call: &Call,
) -> Result<Option<Node>, Failure> {
    let Some(identity) = &call.identity else {
        return Ok(None);
    };
    let active = measurements::active(session, Some(&identity.attestation_type)).await?;
    let mut active = active.into_iter();
    let matching = active.find(|entry| entry.expectation.matches(&identity.registers));
    let Some(measurement) = matching else {
        tracing::info!(address = %identity.address, "a node's measurement is not active");
        return Ok(None);
    };
    let Some(builder) = builders::at(session, identity.address).await? else {
        tracing::info!(
            address = %identity.address,
            measurement = measurement.name,
            "no builder is active at a node's address"
        );
        return Ok(None);
    };
    let actor = Actor {
        kind: "node",
        name: builder.name.clone(),
        address: identity.address.to_string(),
        measurement: Some(measurement.name),
    };
    Ok(Some(Node { builder, actor }))
}

/// As existing hubs refuse nodes: without a word.
pub(super) fn forbidden() -> Reply {
    empty(StatusCode::FORBIDDEN)
}

pub(super) async fn configuration(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let Some(Node { builder, actor }) = authenticate(&mut session, call).await? else {
        return Ok(forbidden());
    };
    let assembled = hub
        .sources
        .assemble(&mut session, &builder.name, &builder.network)
        .await?;
    drop(session);
    let (event, detail, reply) = match assembled.check(When::Delivery) {
        Ok(configuration) => ("GetConfig", String::new(), Ok(json_ok(configuration))),
        Err(lack) => {
            let lack = lack.to_string();
            tracing::warn!(
                builder = builder.name,
                lack,
                "a configuration is not delivered"
            );
            let message = "no deliverable configuration";
            let failure = Failure::because(StatusCode::CONFLICT, message, lack.clone());
            ("RefuseConfig", lack, Err(failure))
        }
    };
    // Before the secrets leave, it is on the disk that they did.
    let event = actor.did_to(&builder.name, event, detail);
    let unavailable = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    hub.events.write(event).await.map_err(unavailable)?;
    reply
}

pub(super) async fn peers(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let Some(Node { builder, actor }) = authenticate(&mut session, call).await? else {
        return Ok(forbidden());
    };
    drop(session);
    let event = actor.did_to(&builder.name, "GetBuilders", "");
    let unavailable = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    hub.events.write(event).await.map_err(unavailable)?;
    shared::peers(hub, &builder.network).await
}
