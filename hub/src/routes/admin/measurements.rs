//! The whitelist.
//!
//! I/O: the database.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{done, entries};
use crate::hub::Hub;
use crate::matching::Expectation;
use crate::records::measurements::{
    self, ActivateMeasurement, AddMeasurement, DeleteMeasurement, Measurement,
};
use crate::reply::{Failure, Reply, json_ok};
use crate::routes::Call;
use crate::text::is_name;

#[derive(Deserialize)]
struct NewMeasurement {
    measurement_id: String,
    attestation_type: String,
    measurements: Json,
}

#[derive(Deserialize)]
pub(super) struct Activation {
    pub(super) enabled: bool,
}

pub(super) async fn list(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let list = measurements::list(&mut session, call.page()?).await?;
    Ok(entries(list.iter().map(Measurement::full).collect()))
}

pub(super) async fn show(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let entry = measurements::find(&mut session, call.parameters.named("measurement_id")).await?;
    let running = measurements::running(&mut session).await?;
    let count = running
        .iter()
        .find(|(name, _)| *name == entry.name)
        .map_or(0, |(_, n)| *n);
    let mut shown = entry.full();
    if let Json::Object(members) = &mut shown {
        members.insert("builders".to_owned(), json!(count));
    }
    Ok(json_ok(&shown))
}

pub(super) async fn add(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let NewMeasurement {
        measurement_id,
        attestation_type,
        measurements,
    } = call.object()?;
    if !is_name(&measurement_id) || !is_name(&attestation_type) {
        let expected = "expected a short measurement_id and attestation_type";
        return Err(Failure::bad_request("bad measurement", expected));
    }
    let expectation = Expectation::parse(&attestation_type, &measurements)
        .map_err(|reason| Failure::bad_request("bad measurement", reason))?;
    let add = AddMeasurement {
        actor: call.admin(),
        name: measurement_id,
        attestation_type,
        expectation,
    };
    hub.database.write(&add).await?;
    Ok(done())
}

pub(super) async fn activate(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let activate = ActivateMeasurement {
        actor: call.admin(),
        name: call.parameters.named("measurement_id").to_owned(),
        enabled: call.object::<Activation>()?.enabled,
        allows_anything: hub.settings.accepts_any_measurement,
    };
    hub.database.write(&activate).await?;
    Ok(done())
}

pub(super) async fn delete(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let name = call.parameters.named("measurement_id").to_owned();
    hub.database
        .write(&DeleteMeasurement {
            actor: call.admin(),
            name,
        })
        .await?;
    Ok(done())
}
