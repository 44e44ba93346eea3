//! What several kinds of clients may read.
//!
//! I/O: the database.

use serde_json::Value as Json;

use crate::hub::Hub;
use crate::records::{builders, measurements};
use crate::reply::{Failure, Reply, json_ok};

/// All active measurements.
pub(super) async fn measurements(hub: &Hub) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let active = measurements::active(&mut session, None).await?;
    let public = active.iter().map(measurements::Measurement::public);
    Ok(json_ok(&Json::Array(public.collect())))
}

/// The active builders of a network.
pub(super) async fn peers(hub: &Hub, network: &str) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let peers = builders::peers(&mut session, network).await?;
    Ok(json_ok(&Json::Array(peers)))
}
