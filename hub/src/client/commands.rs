//! What admins can say, and which requests that is.
//!
//! I/O: reads the files that commands name, or standard input.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use measurements::reference::ReferenceValues;
use serde_json::{Value as Json, json};

use crate::text::percent_encode;

/// Largest document that is read.
const MAX_FILE: u64 = 16 << 20;

/// A request to the admin API.
#[derive(Debug, PartialEq)]
pub(super) struct AdminRequest {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Json>,
}

/// What an admin wants.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// What nodes may run
    #[command(subcommand)]
    Measurement(MeasurementCommand),
    /// Who gets which configuration
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// What all builders of a network share
    #[command(subcommand)]
    Network(NetworkCommand),
    /// What all builders share
    #[command(subcommand)]
    Defaults(DefaultsCommand),
    /// What happened, the latest first
    Events(PageArguments),
}

/// On measurements.
#[derive(Debug, Subcommand)]
pub(crate) enum MeasurementCommand {
    /// Adds what `cvmctl measure` prints, or a published list
    Add {
        /// The file, or - for standard input
        file: PathBuf,
        /// Activates them, too
        #[arg(long)]
        activate: bool,
    },
    /// Lets nodes that match in
    Activate { id: String },
    /// Lets them in no longer
    Deactivate { id: String },
    /// Shows all
    List(PageArguments),
    /// Shows one
    Show { id: String },
    /// Deletes one that isn't active
    Delete { id: String },
}

/// On builders.
#[derive(Debug, Subcommand)]
pub(crate) enum BuilderCommand {
    /// Adds one, inactive
    Add {
        name: String,
        /// The address that its requests come from
        #[arg(long)]
        ip: IpAddr,
        /// Whom it shares with
        #[arg(long)]
        network: String,
        /// Its DNS name
        #[arg(long, default_value = "")]
        dns_name: String,
    },
    /// Has one served
    Activate { name: String },
    /// Has one served no longer
    Deactivate { name: String },
    /// Shows all
    List(PageArguments),
    /// Shows one
    Show { name: String },
    /// Deletes one that isn't active, with its secrets
    Delete { name: String },
    /// Its configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Its secrets
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// When its configurations and secrets were set
    History { name: String },
    /// What it registered
    Credentials { name: String },
    /// What happened to it
    Events { name: String },
}

/// On a builder's configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Sets it
    Set {
        name: String,
        /// A JSON file, or - for standard input
        file: PathBuf,
    },
    /// Shows it
    Show {
        name: String,
        /// As the node gets it, merged and with secrets
        #[arg(long)]
        full: bool,
    },
    /// Says whether the node would get it, and what is missing
    Check { name: String },
}

/// On a builder's secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Sets them
    Set {
        name: String,
        /// A JSON file, or - for standard input
        file: PathBuf,
    },
    /// Takes them away
    Delete { name: String },
    /// Seals all secrets of all builders with the first of the hub's keys for secrets
    Rotate,
}

/// On networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// The configuration below those of its builders
    #[command(subcommand)]
    Config(DocumentCommand),
    /// The keys without which no configuration is delivered
    #[command(subcommand)]
    RequiredKeys(DocumentCommand),
}

/// On a network's document.
#[derive(Debug, Subcommand)]
pub(crate) enum DocumentCommand {
    /// Sets it
    Set {
        network: String,
        /// A JSON file, or - for standard input
        file: PathBuf,
    },
    /// Shows it
    Show { network: String },
    /// Takes it away
    Delete { network: String },
}

/// On defaults.
#[derive(Debug, Subcommand)]
pub(crate) enum DefaultsCommand {
    /// Sets the configuration below all others
    Set { file: PathBuf },
    /// Shows it
    Show,
    /// Takes it away
    Delete,
    /// Sets the secrets of all builders
    SetSecrets { file: PathBuf },
    /// Takes them away
    DeleteSecrets,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct PageArguments {
    /// Begin after this id
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: u16,
}

impl AdminCommand {
    /// The requests that do it, in order.
    pub(super) fn requests(&self) -> anyhow::Result<Vec<AdminRequest>> {
        match self {
            Self::Measurement(command) => command.requests(),
            Self::Builder(command) => command.request().map(|request| vec![request]),
            Self::Network(NetworkCommand::Config(command)) => command
                .request("configuration")
                .map(|request| vec![request]),
            Self::Network(NetworkCommand::RequiredKeys(command)) => command
                .request("required-keys")
                .map(|request| vec![request]),
            Self::Defaults(command) => command.request().map(|request| vec![request]),
            Self::Events(page) => Ok(vec![get(&["events"], page.query())]),
        }
    }
}

impl MeasurementCommand {
    fn requests(&self) -> anyhow::Result<Vec<AdminRequest>> {
        Ok(match self {
            Self::Add { file, activate } => {
                let text = read(file)?;
                let list = ReferenceValues::parse(&text);
                let list = list.with_context(|| format!("read {}", file.display()))?;
                let mut requests = Vec::new();
                for entry in list {
                    requests.push(post(&["measurements"], serde_json::to_value(&entry)?));
                    if *activate {
                        requests.push(activation("measurements", &entry.measurement_id, true));
                    }
                }
                requests
            }
            Self::Activate { id } => vec![activation("measurements", id, true)],
            Self::Deactivate { id } => vec![activation("measurements", id, false)],
            Self::List(page) => vec![get(&["measurements"], page.query())],
            Self::Show { id } => vec![get(&["measurements", id], String::new())],
            Self::Delete { id } => vec![delete(&["measurements", id])],
        })
    }
}

impl BuilderCommand {
    fn request(&self) -> anyhow::Result<AdminRequest> {
        let none = String::new;
        Ok(match self {
            Self::Add {
                name,
                ip,
                network,
                dns_name,
            } => {
                let builder = json!({"name": name, "ip_address": ip.to_string(),
                    "network": network, "dns_name": dns_name});
                post(&["builders"], builder)
            }
            Self::Activate { name } => activation("builders", name, true),
            Self::Deactivate { name } => activation("builders", name, false),
            Self::List(page) => get(&["builders"], page.query()),
            Self::Show { name } => get(&["builders", name], none()),
            Self::Delete { name } => delete(&["builders", name]),
            Self::Config(ConfigCommand::Set { name, file }) => {
                post(&["builders", "configuration", name], document(file)?)
            }
            Self::Config(ConfigCommand::Show { name, full }) => {
                let which = if *full { "full" } else { "active" };
                get(&["builders", "configuration", name, which], none())
            }
            Self::Config(ConfigCommand::Check { name }) => {
                get(&["builders", "configuration", name, "check"], none())
            }
            Self::Secrets(SecretsCommand::Set { name, file }) => {
                post(&["builders", "secrets", name], document(file)?)
            }
            Self::Secrets(SecretsCommand::Delete { name }) => {
                delete(&["builders", "secrets", name])
            }
            Self::Secrets(SecretsCommand::Rotate) => {
                request("POST", &["secrets", "rotation"], none(), None)
            }
            Self::History { name } => get(&["builders", "history", name], none()),
            Self::Credentials { name } => get(&["builders", "credentials", name], none()),
            Self::Events { name } => get(&["builders", "events", name], none()),
        })
    }
}

impl DocumentCommand {
    fn request(&self, what: &str) -> anyhow::Result<AdminRequest> {
        Ok(match self {
            Self::Set { network, file } => post(&["networks", network, what], document(file)?),
            Self::Show { network } => get(&["networks", network, what], String::new()),
            Self::Delete { network } => delete(&["networks", network, what]),
        })
    }
}

impl DefaultsCommand {
    fn request(&self) -> anyhow::Result<AdminRequest> {
        let (configuration, secrets) = (["defaults", "configuration"], ["defaults", "secrets"]);
        Ok(match self {
            Self::Set { file } => post(&configuration, document(file)?),
            Self::Show => get(&configuration, String::new()),
            Self::Delete => delete(&configuration),
            Self::SetSecrets { file } => post(&secrets, document(file)?),
            Self::DeleteSecrets => delete(&secrets),
        })
    }
}

impl PageArguments {
    fn query(&self) -> String {
        format!("?after={}&limit={}", self.after, self.limit)
    }
}

fn activation(what: &str, name: &str, enabled: bool) -> AdminRequest {
    post(&[what, "activation", name], json!({"enabled": enabled}))
}

fn get(parts: &[&str], query: String) -> AdminRequest {
    request("GET", parts, query, None)
}

fn post(parts: &[&str], body: Json) -> AdminRequest {
    request("POST", parts, String::new(), Some(body))
}

fn delete(parts: &[&str]) -> AdminRequest {
    request("DELETE", parts, String::new(), None)
}

fn request(
    method: &'static str,
    parts: &[&str],
    query: String,
    body: Option<Json>,
) -> AdminRequest {
    let parts: Vec<String> = parts.iter().map(|part| percent_encode(part)).collect();
    AdminRequest {
        method,
        path: format!("/api/admin/v1/{}{query}", parts.join("/")),
        body,
    }
}

fn document(file: &Path) -> anyhow::Result<Json> {
    // Not the parser's words: it may be a secret that it trips over.
    let parsed = serde_json::from_str(&read(file)?);
    parsed.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        anyhow::anyhow!("{}: not JSON, line {line} column {column}", file.display())
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    let context = || format!("read {}", file.display());
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(MAX_FILE)
            .read_to_string(&mut text)
            .context("read standard input")?;
    } else {
        let file = std::fs::File::open(file).with_context(context)?;
        file.take(MAX_FILE)
            .read_to_string(&mut text)
            .with_context(context)?;
    }
    Ok(text)
}
