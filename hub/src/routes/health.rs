//! Health, for load balancers and Prometheus.
//!
//! I/O: the log.

use hyper::StatusCode;

use crate::hub::Hub;
use crate::reply::{Reply, empty, typed};

pub(super) fn live() -> Reply {
    empty(StatusCode::OK)
}

pub(super) fn ready(hub: &Hub) -> Reply {
    empty(if hub.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    })
}

/// Says no to load balancers, and answers when they had time to notice.
pub(super) async fn drain(hub: &Hub) -> Reply {
    if hub.set_ready(false) {
        tracing::info!("drained");
        tokio::time::sleep(hub.settings.drain).await;
    }
    empty(StatusCode::OK)
}

pub(super) fn undrain(hub: &Hub) -> Reply {
    if !hub.set_ready(true) {
        tracing::info!("undrained");
    }
    empty(StatusCode::OK)
}

pub(super) fn metrics(hub: &Hub) -> Reply {
    let (used, size) = hub.database.load();
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let gauges = [
        (
            "builderhub_ready",
            "Whether the hub is not drained.",
            u64::from(hub.is_ready()),
        ),
        (
            "builderhub_database_connections_used",
            "Connections in use.",
            number(used),
        ),
        (
            "builderhub_database_connections_limit",
            "Connections there may be.",
            number(size),
        ),
    ];
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    typed(StatusCode::OK, kind, hub.metrics.render(&gauges))
}
