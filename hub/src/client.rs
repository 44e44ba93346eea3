//! The commands for admins: they ask the admin API of a running hub.
//!
//! I/O: the hub; reads the files that options name, standard input, the terminal for a password;
//! prints.

mod commands;
mod connection;
mod print;

use std::process::ExitCode;

use clap::Args;

pub(crate) use commands::AdminCommand;
use connection::Connection;

/// Which hub, and as whom.
#[derive(Debug, Args)]
pub(crate) struct HubArguments {
    /// Where the hub's admin API is
    #[arg(
        long,
        global = true,
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    admin_url: String,

    /// A file with NAME:PASSWORD, readable by its owner only (default: asked for at the terminal)
    #[arg(long, global = true, value_name = "FILE")]
    credentials: Option<std::path::PathBuf>,

    /// The hub was started with --disable-admin-auth
    #[arg(long, global = true, conflicts_with = "credentials")]
    no_credentials: bool,

    /// PEM file with the roots that an https hub's certificate must have (default: the system's)
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,

    /// Send the password over an unencrypted connection to another machine
    #[arg(long, global = true)]
    danger_plain_http: bool,

    /// Print what the hub answers, as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Does what a command says: one request after the other, as long as the hub agrees.
pub(crate) async fn run(command: &AdminCommand, hub: &HubArguments) -> anyhow::Result<ExitCode> {
    let requests = command.requests()?;
    let connection = Connection::new(hub)?;
    for request in requests {
        let answer = connection.send(&request).await?;
        print::answer(&request, answer, hub.json)?;
    }
    Ok(ExitCode::SUCCESS)
}
