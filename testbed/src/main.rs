//! Boots an image on virtual machines that cannot reach the outside: to test and attack it
//! (`boot-test`), or other chains of the same kernel, to test predictions of them (`chain-test`); on a
//! simulated Azure host (`azure-sim`), or on several with a hub, to use it (`run`).
//!
//! Needs the programs of the locked tools tree. Exit codes: 0 all was well, 1 the image is not
//! as it should be, 2 it could not be found out.
//!
//! I/O: see the subcommands.

mod azure_sim;
mod boot_test;
mod chain_test;
mod checks;
mod data_disk;
mod fault_test;
mod hub;
mod power_cut_test;
mod profile_test;
mod registers;
mod relay;
mod relying_party;
mod report;
mod run;
mod scripted;
mod session;
mod shutdown;
mod signals;
mod story;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a network: a hub, and nodes on simulated Azure hosts; Ctrl-C stops it
    ///
    /// The hub is told what the image measures, and each node's address, sample configuration and
    /// secrets. A page then says what runs where, what was verified, and what to try. With `--once` the
    /// exit code tells whether every node measures as predicted and has proven it, to cvmctl and to the
    /// hub, and has registered there the certificate that it serves.
    Run(run::Options),
    /// Boots an image clean and under attack, and checks what it measures and answers
    ///
    /// With `--run-dir`, logs stay in a directory for each scenario, and the firmware's event log
    /// in `clean/eventlog.bin`.
    BootTest(boot_test::Options),
    /// Boots the image's kernel in other boot chains, and checks that each measures as predicted
    ///
    /// Each chain is a UKI of the stub in the tools tree, alone or behind systemd-boot, and is
    /// followed until the kernel takes over from the firmware. Then every register that is
    /// predicted, or stays zero, is compared in both banks, and so is every event; of the firmware's
    /// own registers, what it measured of the partition table. With `--run-dir`, logs stay in a
    /// directory for each chain, with the firmware's event log as `eventlog.bin`.
    ChainTest(chain_test::Options),
    /// Checks that a profile adds one file to an image, and changes nothing else
    ProfileTest(profile_test::Options),
    /// Boots an image on a simulated Azure TDX host: vTPM, metadata service, wireserver, data disk
    ///
    /// The guest reaches Azure's services and nothing else. Its evidence is made with test keys: who is
    /// not told to trust them refuses it. With `--run-dir`, logs, roots and the collateral stay there.
    AzureSim(azure_sim::Options),
    /// Makes hub, network, metadata service, wireserver, TPM, disk and clock fail around a node, and mends them
    ///
    /// The node has to say what is wrong, in the words of the table of `docs/operator.md`, and to go on by
    /// itself. It wants the image of the profile `sim`. With `--run-dir`, logs stay in a directory for each scene.
    FaultTest(fault_test::Options),
    /// Cuts a node's power at random moments: it has to boot again, with what it had
    ///
    /// Of first boots, later boots, and while a changed configuration comes; the disk is kept. It wants the
    /// image of the profile `sim`.
    PowerCutTest(power_cut_test::Options),
}

/// What all subcommands ask for.
#[derive(Clone, Debug, Args)]
struct Common {
    /// The image: a fixed VHD (.vhd), or raw
    image: PathBuf,
    /// Memory in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory: u32,
    /// Processors
    #[arg(long, default_value_t = 2, value_name = "N")]
    cpus: u32,
    /// Where logs and scratch files go, and stay [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before any thread is started, so that all of them leave signals to the one that waits.
    let outcome = signals::block().and_then(|signals| match cli.command {
        Command::Run(options) => run::run(&options, &signals),
        Command::BootTest(options) => boot_test::run(&options, signals),
        Command::ChainTest(options) => chain_test::run(&options, &signals),
        Command::ProfileTest(options) => profile_test::run(&options),
        Command::AzureSim(options) => azure_sim::run(&options, &signals),
        Command::FaultTest(options) => fault_test::run(&options, signals),
        Command::PowerCutTest(options) => power_cut_test::run(&options, signals),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::from(2)
        }
    }
}
