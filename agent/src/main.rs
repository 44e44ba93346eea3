//! `cvm-agent`: the one program of a confidential node, one subcommand per systemd unit.
//!
//! I/O: reads its arguments and the variables systemd sets; the subcommands do the rest.

mod attest;
mod boot;
mod clock;
mod close_disk;
mod config;
mod identity;
mod journal;
mod notify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    version,
    about = "Makes a machine a confidential node, and proves what it is"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proves to anybody what this machine runs, and to the hub on its behalf
    Attest(attest::Args),
    /// Makes this machine a node, and keeps it one
    Boot(boot::Args),
    /// Unmounts the data disk and forgets its key; when the machine stops
    CloseDisk(close_disk::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    journal::init();

    let result = match cli.command {
        Command::Attest(args) => attest::run(args),
        Command::Boot(args) => boot::run(args),
        Command::CloseDisk(args) => close_disk::run(&args),
    };

    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
