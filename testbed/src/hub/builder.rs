//! What an admin tells the hub about a node, before it starts: where it is, and what it gets.
//!
//! I/O: runs builderhub; files in the directory that is given.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Admin;

/// Whom the nodes share with.
const NETWORK: &str = "sim";

/// What every node gets, but for its names; without secrets.
pub(crate) const CONFIGURATION: &str = include_str!("../../data/configuration.json");
/// Nobody's secrets.
pub(crate) const SECRETS: &str = include_str!("../../data/secrets.json");

/// A node, as the hub knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Builder {
    /// Its name.
    pub(crate) name: String,
    /// Where its connections come from.
    pub(crate) address: Ipv4Addr,
    /// Its name in DNS.
    pub(crate) dns_name: String,
}

impl Builder {
    /// Makes it known, with the sample configuration and secrets; their files stay in `directory`.
    pub(crate) fn register(&self, admin: &Admin, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).context("make the node's directory")?;
        let configuration = directory.join("configuration.json");
        let text = serde_json::to_string_pretty(&self.configuration()?)?;
        fs::write(&configuration, text + "\n").context("write the configuration")?;
        let secrets = directory.join("secrets.json");
        fs::write(&secrets, SECRETS).context("write the secrets")?;
        let (configuration, secrets) = (
            configuration.display().to_string(),
            secrets.display().to_string(),
        );
        let name = &self.name;
        // In a database that was kept, it is there already.
        if !admin.knows(&["builder", "show", name]) {
            let ip = self.address.to_string();
            let place = ["--ip", &ip, "--network", NETWORK];
            let dns_name = ["--dns-name", &self.dns_name];
            admin.run(&[&["builder", "add", name], &place[..], &dns_name].concat())?;
        }
        admin.run(&["builder", "config", "set", name, &configuration])?;
        admin.run(&["builder", "activate", name])?;
        admin.run(&["builder", "secrets", "set", name, &secrets])?;
        // The hub's word that the node will get it.
        admin.run(&["builder", "config", "check", name])?;
        Ok(())
    }

    /// The sample, with this node's names.
    fn configuration(&self) -> Result<Value> {
        let mut sample: Value = serde_json::from_str(CONFIGURATION).context("parse the sample")?;
        let fields = sample.as_object_mut().context("parse the sample")?;
        fields.insert("instance_name".to_owned(), json!(self.name));
        fields.insert("public_ip".to_owned(), json!(self.address));
        fields.insert("dns_name".to_owned(), json!(self.dns_name));
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_gets_the_nodes_names() {
        let builder = Builder {
            name: "node-2".to_owned(),
            address: Ipv4Addr::new(127, 0, 0, 3),
            dns_name: "node-2.sim.test".to_owned(),
        };
        let configuration = builder.configuration().unwrap();
        assert_eq!(configuration["instance_name"], "node-2");
        assert_eq!(configuration["public_ip"], "127.0.0.3");
        assert_eq!(configuration["dns_name"], "node-2.sim.test");
    }

    #[test]
    fn secrets_say_that_they_are_none() {
        let secrets: Value = serde_json::from_str(SECRETS).unwrap();
        let key = secrets["disk_encryption"]["key"].as_str().unwrap();
        assert!(key.starts_with("not-a-secret"));
    }
}
