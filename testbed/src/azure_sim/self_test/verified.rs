//! What a relying party says to the node: one that is told to trust the test keys, and one that is not.
//!
//! I/O: runs cvmctl, which connects to 127.0.0.1.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::azure::host::RunningHost;
use testkit::fetch::url;

use crate::azure_sim::summary::roots_flags;
use crate::session::ATTESTATION_PORT;

/// cvmctl's exit code for a machine that is not to be trusted.
const NOT_TRUSTED: i32 = 1;

/// cvmctl trusts the node, and gets its certificate over the attested connection.
pub(super) fn is_trusted(cvmctl: &Path, host: &RunningHost, image: &Path) -> Result<()> {
    let output = get(cvmctl, host, image, &|_| true)?;
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
    let output = get(cvmctl, host, image, &|flag| flag == "--collateral")?;
    let code = output.status.code();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        code == Some(NOT_TRUSTED),
        "cvmctl: {}: {errors}",
        output.status
    );
    Ok(())
}

fn get(
    cvmctl: &Path,
    host: &RunningHost,
    image: &Path,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Output> {
    let port = host.machine.forward_tcp(ATTESTATION_PORT)?;
    let mut command = Command::new(cvmctl);
    command
        .arg("get")
        .arg("--image")
        .arg(image)
        .stdin(Stdio::null());
    for (flag, path) in roots_flags(&host.roots) {
        if is_wanted(flag) {
            command.arg(flag).arg(path);
        }
    }
    command.arg(url(port, "/cert"));
    command
        .output()
        .with_context(|| format!("run {}", cvmctl.display()))
}
