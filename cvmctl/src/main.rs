//! `cvmctl`: looks at confidential VM images, and at the machines that run them, from outside.
//!
//! Exit codes, the same for every command: 0 trusted or equal, 1 not trusted or different, 2 could
//! not tell (usage, files, network). Scripts must not take 2 for 1.
//!
//! I/O: prints; commands open the files that they are given, read-only, and say which they write and
//! whom they connect to.

mod certificates;
mod diff;
mod eventlog;
mod evidence_dir;
mod exhibit;
mod expectations;
mod files;
mod get;
mod http;
mod judgement;
mod measure;
mod moment;
mod output_file;
mod proxy;
mod report;
mod runtime;
mod trust;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use report::{Outcome, Report, one_line, printable};

/// Looks at confidential VM images from outside: what they measure to, whether that is what was
/// published, and whether it is what a machine runs.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  trusted, equal, or printed
  1  not trusted, or different
  2  could not tell: usage, unreadable file, unknown kind of image, no answer from a machine";

#[derive(Debug, Subcommand)]
enum Command {
    Measure(measure::MeasureArguments),
    Diff(diff::DiffArguments),
    Eventlog(eventlog::EventlogArguments),
    Get(get::GetArguments),
    Verify(verify::VerifyArguments),
    Proxy(proxy::ProxyArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).and_then(print) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("cvmctl: {}", one_line(&format!("{error:#}")));
            Outcome::Undecided.into()
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Report> {
    match arguments.command {
        Command::Measure(arguments) => measure::run(&arguments.try_into()?),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Eventlog(arguments) => eventlog::run(&arguments.into()),
        Command::Get(arguments) => get::run(arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Proxy(arguments) => proxy::run(arguments),
    }
}

fn print(report: Report) -> anyhow::Result<Outcome> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(printable(&report.text).as_bytes())
        .context("write to standard output")?;
    stdout.flush().context("write to standard output")?;
    Ok(report.outcome)
}
