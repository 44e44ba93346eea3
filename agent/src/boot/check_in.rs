//! Tells the Azure host that this machine is up, so that Azure does not take it for broken.
//!
//! What the machine is up to is none of the host's business, and a boot may wait for a hub or a disk
//! for days: that it can tell at all is all that is told. Beside the boot, which never waits for it.
//!
//! I/O: reads the chassis's asset tag; asks Azure's wireserver.

use attestation::EvidenceKind;
use wireserver::{Report, Schedule, Wireserver};

use super::Machine;

/// Begins to check in, if this is a machine of Azure.
pub(super) fn start(machine: &Machine) {
    match attester::detect(&machine.root) {
        Ok(EvidenceKind::AzureTdx) => {}
        Ok(kind) => return tracing::info!("check-in: none, this machine is of kind {kind}"),
        Err(error) => return tracing::warn!("check-in: none, {error}"),
    }
    let address = &machine.config.boot.wireserver;
    let wireserver = match Wireserver::new(address, Schedule::default()) {
        Ok(wireserver) => wireserver,
        Err(error) => return tracing::error!("check-in: {address}: {error}"),
    };
    tokio::spawn(async move {
        let say = |event: wireserver::Event<'_>| tracing::info!("check-in: {event}");
        match wireserver.report(&Report::Ready, say).await {
            Ok(_) => tracing::info!("check-in: Azure knows that this machine is up"),
            Err(error) => tracing::error!("check-in: given up: {}", attested_http::Causes(&error)),
        }
    });
}
