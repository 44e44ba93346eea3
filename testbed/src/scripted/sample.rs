//! The configuration that a scripted hub hands out: the sample, with secrets that are found again
//! wherever they may have got to.
//!
//! I/O: none.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::hub::{CONFIGURATION, SECRETS};

/// A member of this name has its value in base64.
const ENCODED: &str = "#base64";

/// What every secret begins with here; nobody takes it for one.
const MARK: &str = "not-a-secret";

/// A configuration, and the secrets in it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) configuration: Value,
    /// Each as the services would get it.
    pub(crate) secrets: Vec<String>,
}

impl Sample {
    /// The sample of a node; `token` tells its secrets from all others.
    pub(crate) fn new(name: &str, token: u64) -> Result<Self> {
        let mut configuration: Value =
            serde_json::from_str(CONFIGURATION).context("parse the sample")?;
        let mut secrets: Value = serde_json::from_str(SECRETS).context("parse the secrets")?;
        let mut found = Vec::new();
        mark(&mut secrets, token, "", &mut found);
        merge(&mut configuration, secrets);
        let fields = configuration.as_object_mut().context("parse the sample")?;
        fields.insert("instance_name".to_owned(), json!(name));
        fields.insert("public_ip".to_owned(), json!("127.0.0.2"));
        fields.insert("dns_name".to_owned(), json!(format!("{name}.sim.test")));
        Ok(Self {
            configuration,
            secrets: found,
        })
    }
}

/// Replaces every text that is not empty by one that occurs nowhere else.
fn mark(value: &mut Value, token: u64, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                mark(member, token, key, found);
            }
        }
        Value::String(text) if !text.is_empty() => {
            let number = found.len();
            let secret = format!("{MARK}-{token:016x}-{number:02}");
            *text = match key.ends_with(ENCODED) {
                true => BASE64_STANDARD.encode(&secret),
                false => secret.clone(),
            };
            found.push(secret);
        }
        _ => {}
    }
}

/// Puts one object's members over another's, at every depth.
fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_has_names_and_marked_secrets() {
        let sample = Sample::new("node-1", 7).unwrap();
        let configuration = &sample.configuration;
        assert_eq!(configuration["dns_name"], "node-1.sim.test");
        assert_eq!(configuration["rbuilder"]["dry_run"], true);
        let key = configuration["disk_encryption"]["key"].as_str().unwrap();
        assert!(sample.secrets.contains(&key.to_owned()));
        assert!(sample.secrets.len() >= 9, "{:?}", sample.secrets);
        for secret in &sample.secrets {
            assert!(secret.starts_with("not-a-secret-0000000000000007-"));
        }
        let encoded = configuration["bidding_service"]["config#base64"].as_str();
        let decoded = BASE64_STANDARD.decode(encoded.unwrap()).unwrap();
        let decoded = String::from_utf8(decoded).unwrap();
        assert!(sample.secrets.contains(&decoded));
    }
}
