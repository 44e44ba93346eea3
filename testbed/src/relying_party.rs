//! What somebody who is about to rely on a node finds out with cvmctl.
//!
//! I/O: runs cvmctl, which connects to loopback.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use testkit::azure::host::Roots;

/// cvmctl's exit code for a machine that is not to be trusted.
pub(crate) const NOT_TRUSTED: i32 = 1;

/// What tells cvmctl, and the hub, to trust a simulated machine.
pub(crate) fn roots_flags(roots: &Roots) -> [(&'static str, &Path); 3] {
    [
        ("--danger-trust-root", &roots.processor),
        ("--danger-trust-ak-root", &roots.attestation_key),
        ("--collateral", &roots.collateral),
    ]
}

/// The arguments with which cvmctl gets `url` from a simulated machine that runs `image`.
pub(crate) fn arguments(image: &Path, roots: &Roots, url: &str) -> Vec<String> {
    let mut arguments = vec!["get".to_owned(), "--image".to_owned()];
    arguments.push(image.display().to_string());
    for (flag, path) in roots_flags(roots) {
        arguments.extend([flag.to_owned(), path.display().to_string()]);
    }
    arguments.push(url.to_owned());
    arguments
}

/// Runs cvmctl to its end, whatever it is.
pub(crate) fn run(cvmctl: &Path, arguments: &[String]) -> Result<Output> {
    Command::new(cvmctl)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", cvmctl.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_roots_are_named() {
        let roots = Roots {
            processor: "/r/p.pem".into(),
            attestation_key: "/r/a.pem".into(),
            collateral: "/r/c.json".into(),
        };
        assert_eq!(
            arguments(Path::new("/i.vhd"), &roots, "https://127.0.0.1:1/cert").join(" "),
            "get --image /i.vhd --danger-trust-root /r/p.pem --danger-trust-ak-root /r/a.pem \
             --collateral /r/c.json https://127.0.0.1:1/cert"
        );
    }
}
