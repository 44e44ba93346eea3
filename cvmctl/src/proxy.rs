//! `cvmctl proxy`: attested connections for programs that know nothing of attestation.
//!
//! `server` stands before an HTTP server: it proves to clients what this machine runs, or has them
//! prove what theirs do, or both. `client` stands before clients: it connects to an attested server,
//! or to one with a name, and proves this machine to it if it is asked. Flags, environment and headers
//! are those of the proxies that are in use, which they can replace on either side.
//!
//! I/O: listens and connects; reads certificates, keys and measurements; logs on standard error.

mod arguments;
mod client;
mod evidence;
mod identity;
mod listening;
mod logging;
mod quotes;
mod server;

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio::runtime::{Builder, Runtime};

use self::arguments::{ClientArguments, ServerArguments};
use crate::report::{Outcome, Report};

/// Puts HTTP onto attested connections, and takes it off them.
#[derive(Debug, Args)]
pub(crate) struct ProxyArguments {
    #[command(subcommand)]
    side: Side,
}

#[derive(Debug, Subcommand)]
enum Side {
    Server(Box<ServerArguments>),
    Client(Box<ClientArguments>),
}

/// Runs a proxy until it is told to stop.
pub(crate) fn run(arguments: ProxyArguments) -> anyhow::Result<Report> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    match arguments.side {
        Side::Server(arguments) => run_on(runtime, server::run(*arguments)),
        Side::Client(arguments) => run_on(runtime, client::run(*arguments)),
    }?;
    Ok(Report {
        text: String::new(),
        outcome: Outcome::Good,
    })
}

/// Runs `proxy` to its end, good or bad. What is in flight on other threads then, such as a name that
/// is being looked up, is not waited for: it has been counted and is cut.
fn run_on<T>(runtime: Runtime, proxy: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(proxy);
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_error_does_not_wait_for_other_threads() {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let started = Instant::now();
        let ended: Result<(), &str> = run_on(runtime, async {
            let (begun, begins) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = begun.send(());
                std::thread::sleep(Duration::from_secs(10));
            });
            begins.await.unwrap();
            Err("why")
        });
        assert_eq!(ended, Err("why"));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
