//! The configuration that a scripted hub hands out: the sample, with secrets that are found again
//! wherever they may have got to.
//!
//! I/O: none.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::hub::{CONFIGURATION, SECRETS};

/// A member of this name has its value in base64.
const ENCODED: &str = "#base64";

/// What every secret begins with here; nobody takes it for one.
const MARK: &str = "not-a-secret";

/// A configuration, and what its secrets have in common.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) configuration: Value,
    /// What every secret in it begins with, as the services would get it, and nothing else does.
    pub(crate) mark: String,
}

impl Sample {
    /// The sample of a node; `token` tells its secrets from all others.
    pub(crate) fn new(name: &str, token: u64) -> Result<Self> {
        let mut configuration: Value =
            serde_json::from_str(CONFIGURATION).context("parse the sample")?;
        let mut secrets: Value = serde_json::from_str(SECRETS).context("parse the secrets")?;
        let common = format!("{MARK}-{token:016x}-");
        ensure!(
            mark(&mut secrets, &common, "") > 0,
            "the sample has no secrets"
        );
        merge(&mut configuration, secrets);
        let fields = configuration.as_object_mut().context("parse the sample")?;
        fields.insert("instance_name".to_owned(), json!(name));
        fields.insert("public_ip".to_owned(), json!("127.0.0.2"));
        fields.insert("dns_name".to_owned(), json!(format!("{name}.sim.test")));
        Ok(Self {
            configuration,
            mark: common,
        })
    }
}

/// Replaces every text that is not empty by one that occurs nowhere else.
/// Returns how many there are.
fn mark(value: &mut Value, common: &str, key: &str) -> usize {
    match value {
        Value::Object(members) => {
            let members = members.iter_mut();
            members.map(|(key, member)| mark(member, common, key)).sum()
        }
        Value::String(text) if !text.is_empty() => {
            let secret = format!("{common}{key}");
            *text = match key.ends_with(ENCODED) {
                true => BASE64_STANDARD.encode(&secret),
                false => secret,
            };
            1
        }
        _ => 0,
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
        assert_eq!(sample.mark, "not-a-secret-0000000000000007-");
        assert_eq!(key, format!("{}key", sample.mark));
        let encoded = configuration["bidding_service"]["config#base64"].as_str();
        let decoded = BASE64_STANDARD.decode(encoded.unwrap()).unwrap();
        assert!(decoded.starts_with(sample.mark.as_bytes()));
    }
}
