//! What a relying party says to the node: one that is told to trust the test keys, and one that is not.
//!
//! I/O: runs cvmctl, which connects to 127.0.0.1.

use std::path::Path;

use anyhow::{Result, ensure};
use testkit::azure::host::RunningHost;
use testkit::fetch::{local, url};

use crate::relying_party::{self, NOT_TRUSTED};
use crate::session::ATTESTATION_PORT;

/// cvmctl trusts the node, and gets its certificate over the attested connection.
pub(super) fn is_trusted(cvmctl: &Path, host: &RunningHost, image: &Path) -> Result<()> {
    let output = relying_party::run(cvmctl, &arguments(host, image)?)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cvmctl: {}: {errors}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("-----BEGIN CERTIFICATE-----"),
        "no certificate: {text:.200}"
    );
    Ok(())
}

/// cvmctl, with Intel's and Microsoft's roots, finds that the node is not to be trusted.
pub(super) fn is_refused_without_roots(
    cvmctl: &Path,
    host: &RunningHost,
    image: &Path,
) -> Result<()> {
    let mut arguments = arguments(host, image)?;
    while let Some(at) = arguments
        .iter()
        .position(|word| word.starts_with("--danger"))
    {
        // With its value.
        arguments.drain(at..at + 2);
    }
    let output = relying_party::run(cvmctl, &arguments)?;
    let code = output.status.code();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        code == Some(NOT_TRUSTED),
        "cvmctl: {}: {errors}",
        output.status
    );
    Ok(())
}

fn arguments(host: &RunningHost, image: &Path) -> Result<Vec<String>> {
    let port = host.machine.forward_tcp(ATTESTATION_PORT)?;
    let url = url(local(port), "/cert");
    Ok(relying_party::arguments(image, &host.roots, &url))
}
