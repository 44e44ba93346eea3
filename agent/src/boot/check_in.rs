//! Tells the Azure host that this machine is up, so that Azure does not take it for broken, or that it
//! never will be.
//!
//! What the machine is up to is none of the host's business, and a boot may wait for a hub or a disk
//! for days: that it can tell at all is all that is told. Beside the boot, which never waits for it.
//! Only an image that cannot boot at all says so, before it ends.
//!
//! I/O: reads the chassis's asset tag; asks Azure's wireserver.

use std::path::Path;
use std::time::Duration;

use attestation::EvidenceKind;
use wireserver::{Description, Report, Schedule, Wireserver};

/// How long a failure is tried to be told: the unit is started again and tells it again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to report, if this is a machine of Azure.
pub(super) fn host<'a>(root: &Path, address: &'a str) -> Option<&'a str> {
    match attester::detect(root) {
        Ok(EvidenceKind::AzureTdx) => return Some(address),
        Ok(kind) => tracing::info!("check-in: none, this machine is of kind {kind}"),
        Err(error) => tracing::warn!("check-in: none, {error}"),
    }
    None
}

/// Begins to report that the machine is up.
pub(super) fn up(host: Option<&str>) {
    let Some(address) = host.map(str::to_owned) else {
        return;
    };
    tokio::spawn(async move {
        let reported = report(&address, &Report::Ready, Schedule::default()).await;
        if reported {
            tracing::info!("check-in: Azure knows that this machine is up");
        }
    });
}

/// Reports that the machine will never be a node, and why.
pub(super) async fn failed(host: Option<&str>, why: &anyhow::Error) {
    let Some(address) = host else {
        return;
    };
    let schedule = Schedule {
        exchange: PATIENCE / 3,
        limit: PATIENCE,
        ..Schedule::default()
    };
    let not_ready = Report::NotReady(Description::new(&format!("{why:#}")));
    if report(address, &not_ready, schedule).await {
        tracing::info!("check-in: Azure knows that this machine has failed");
    }
}

async fn report(address: &str, what: &Report, schedule: Schedule) -> bool {
    let wireserver = match Wireserver::new(address, schedule) {
        Ok(wireserver) => wireserver,
        Err(error) => {
            tracing::error!("check-in: {address}: {error}");
            return false;
        }
    };
    let say = |event: wireserver::Event<'_>| tracing::info!("check-in: {event}");
    let reported = wireserver.report(what, say).await;
    if let Err(error) = &reported {
        tracing::error!("check-in: given up: {}", attested_http::Causes(error));
    }
    reported.is_ok()
}
