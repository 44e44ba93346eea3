//! Builders.
//!
//! I/O: the database.

use std::net::IpAddr;

use serde::Deserialize;

use super::measurements::Activation;
use super::{done, entries};
use crate::hub::Hub;
use crate::records::builders::{self, ActivateBuilder, AddBuilder, DeleteBuilder};
use crate::reply::{Failure, Reply, json_ok};
use crate::routes::Call;
use crate::text::is_name;

#[derive(Deserialize)]
struct NewBuilder {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip_address: String,
    #[serde(default)]
    dns_name: Option<String>,
    #[serde(default)]
    network: String,
}

pub(super) async fn list(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    Ok(entries(builders::list(&mut session, call.page()?).await?))
}

pub(super) async fn show(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    Ok(json_ok(
        &builders::find(&mut session, call.parameters.named("name"))
            .await?
            .full(),
    ))
}

pub(super) async fn add(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let NewBuilder {
        name,
        ip_address,
        dns_name,
        network,
    } = call.object()?;
    let bad = |reason: &str| Failure::bad_request("bad builder", reason);
    if !is_name(&name) {
        return Err(bad("expected a short name"));
    }
    if !is_name(&network) {
        return Err(bad("expected a network"));
    }
    let dns_name = dns_name.unwrap_or_default();
    if !dns_name.is_empty() && !is_name(&dns_name) {
        return Err(bad("expected a short dns_name"));
    }
    let ip: IpAddr = ip_address
        .parse()
        .map_err(|_| bad("expected an address as ip_address"))?;
    let add = AddBuilder {
        actor: call.admin(),
        name,
        ip,
        dns_name,
        network,
    };
    hub.database.write(&add).await?;
    Ok(done())
}

pub(super) async fn activate(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let activate = ActivateBuilder {
        actor: call.admin(),
        name: call.parameters.named("name").to_owned(),
        enabled: call.object::<Activation>()?.enabled,
        sources: &hub.sources,
    };
    hub.database.write(&activate).await?;
    Ok(done())
}

pub(super) async fn delete(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let name = call.parameters.named("name").to_owned();
    hub.database
        .write(&DeleteBuilder {
            actor: call.admin(),
            name,
        })
        .await?;
    Ok(done())
}
