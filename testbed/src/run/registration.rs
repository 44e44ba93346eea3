//! What the hub is told about the image, and what it knows of the nodes.
//!
//! I/O: runs cvmctl and builderhub; files in the run directory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use measurements::Prediction;
use serde::Serialize;
use serde_json::Value;

use crate::hub::Admin;

/// What the hub knows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Contact {
    /// When it was last heard of.
    pub(super) at: Option<String>,
    /// What it was found to run.
    pub(super) measurement_id: Option<String>,
    /// For which services it has registered certificates or keys.
    pub(super) registered: Vec<Registered>,
}

impl Contact {
    /// What is new since `before`: a database that was kept knows the nodes of an earlier run.
    pub(super) fn since(mut self, before: &Self) -> Self {
        if self.at == before.at {
            self.at = None;
            self.measurement_id = None;
        }
        self.registered
            .retain(|one| !before.registered.contains(one));
        self
    }

    /// Whether peers are given this certificate.
    pub(super) fn has(&self, certificate: &str) -> bool {
        let registered = self.registered.iter();
        let mut certificates = registered.filter_map(|one| one.certificate.as_deref());
        let wanted = certificate.trim();
        !wanted.is_empty() && certificates.any(|certificate| certificate.trim() == wanted)
    }
}

/// A node's registration for one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Registered {
    pub(super) service: String,
    /// PEM.
    pub(super) certificate: Option<String>,
    /// When the certificate ends.
    pub(super) expires: Option<String>,
    /// Whether the node has proven that it has the key.
    pub(super) is_proven: bool,
}

/// Lets in what the image is predicted to measure; returns the measurement's name.
pub(super) fn let_in(
    admin: &Admin,
    cvmctl: &Path,
    image: &Path,
    prediction: &Prediction,
    run: &Path,
) -> Result<String> {
    let id = measurement_id(image, prediction)?;
    let output = Command::new(cvmctl)
        .arg("measure")
        .arg(image)
        .args(["--measurement-id", &id])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", cvmctl.display()))?;
    ensure!(
        output.status.success(),
        "cvmctl measure: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let file = run.join("measurement.json");
    fs::write(&file, &output.stdout).context("write the measurement")?;
    // With a kept database it is there already.
    if !admin.knows(&["measurement", "show", &id]) {
        admin.run(&["measurement", "add", &file.display().to_string()])?;
    }
    admin.run(&["measurement", "activate", &id])?;
    Ok(id)
}

/// Of a simulation by its name, and of just this image by what it measures.
fn measurement_id(image: &Path, prediction: &Prediction) -> Result<String> {
    let name = image.file_stem().context("find the image's name")?;
    let value = prediction
        .value(11)
        .context("find what the image measures")?;
    let digest = value.sha256.to_string();
    let digest = digest.get(..16).unwrap_or(&digest);
    Ok(format!("simulated-{}-{digest}", name.to_string_lossy()))
}

/// Asks the hub what it knows of a node.
pub(super) fn contact(admin: &Admin, name: &str) -> Result<Contact> {
    let builders = admin.list(&["builder", "list"])?;
    let builder = builders
        .iter()
        .find(|builder| builder.get("name").and_then(Value::as_str) == Some(name));
    let builder = builder.with_context(|| format!("the hub does not know {name}"))?;
    let credentials = admin.list(&["builder", "credentials", name])?;
    let active = credentials
        .iter()
        .filter(|one| one.get("is_active").and_then(Value::as_bool) == Some(true));
    Ok(Contact {
        at: text(builder, "last_contact"),
        measurement_id: text(builder, "measurement_id"),
        registered: active
            .map(|one| Registered {
                service: text(one, "service").unwrap_or_default(),
                certificate: text(one, "tls_cert"),
                expires: text(one, "certificate_expires"),
                is_proven: one.get("is_proven").and_then(Value::as_bool) == Some(true),
            })
            .collect(),
    })
}

fn text(entry: &Value, field: &str) -> Option<String> {
    entry.get(field).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(certificate: Option<&str>) -> Contact {
        Contact {
            at: None,
            measurement_id: None,
            registered: vec![Registered {
                service: "instance".to_owned(),
                certificate: certificate.map(str::to_owned),
                expires: None,
                is_proven: true,
            }],
        }
    }

    #[test]
    fn what_an_earlier_run_left_is_not_news() {
        let heard = Contact {
            at: Some("2026-11-22T09:00:00Z".to_owned()),
            ..contact(Some("old"))
        };
        let silent = heard.clone().since(&heard);
        assert_eq!((silent.at, silent.registered), (None, Vec::new()));
        let later = Contact {
            at: Some("2026-11-22T09:30:00Z".to_owned()),
            ..contact(Some("new"))
        };
        assert_eq!(later.clone().since(&heard), later);
    }

    #[test]
    fn certificate_is_registered_whole_or_not() {
        assert!(contact(Some("PEM\n")).has("PEM"));
        assert!(!contact(Some("PEM")).has("PE"));
        assert!(!contact(Some("")).has(""));
        assert!(!contact(None).has("PEM"));
    }
}
