//! What commands that use the network run on: one thread, and a log on standard error.
//!
//! I/O: logs.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::LevelFilter;

/// Starts it. Warnings are logged, and with `is_debugged` everything.
pub(crate) fn start(is_debugged: bool) -> anyhow::Result<Runtime> {
    let level = match is_debugged {
        true => LevelFilter::DEBUG,
        false => LevelFilter::WARN,
    };
    // Fails only if there is a log already.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .try_init();
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")
}
