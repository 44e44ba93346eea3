//! `builderhub`: hands out configuration and secrets to nodes that have proven what they are.
//!
//! I/O: what the subcommand says.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod admin_auth;
mod certificate;
mod client;
mod configuration;
mod database;
mod event_log;
mod front;
mod hub;
mod import;
mod limiter;
mod log;
mod matching;
mod merge;
mod metrics;
mod node;
mod options;
mod private_file;
mod records;
mod reply;
mod required;
mod roots;
mod routes;
mod sealing;
mod serve;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hands out configuration and secrets to nodes that have proven what they are.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten, next_help_heading = "For commands that ask a running hub")]
    hub: client::HubArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArguments>),
    Import(import::ImportArguments),
    /// Reads a password from standard input, one line, and prints its bcrypt hash
    HashPassword,
    /// Keys that seal secrets
    #[command(subcommand)]
    Key(KeyCommand),
    #[command(flatten)]
    Admin(client::AdminCommand),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key file; of an existing one, prints a fresh line to put first
    New {
        /// The file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("builderhub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match arguments.command {
        Command::Serve(arguments) => {
            log::start(&arguments.log)?;
            runtime.block_on(serve::run(*arguments))?;
        }
        Command::Import(arguments) => runtime.block_on(import::run(arguments))?,
        Command::Admin(command) => return runtime.block_on(client::run(&command, &arguments.hub)),
        Command::HashPassword => println!("{}", admin_auth::hash(std::io::stdin().lock())?),
        Command::Key(KeyCommand::New { file }) if file.exists() => {
            print!("{}", sealing::Keys::fresh_line()?);
        }
        Command::Key(KeyCommand::New { file }) => sealing::Keys::create(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}
