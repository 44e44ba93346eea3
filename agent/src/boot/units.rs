//! systemd's units: what the boot starts, stops and reloads.
//!
//! I/O: starts `systemctl`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// A reload that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service manager, by its command.
pub(super) struct Units {
    systemctl: PathBuf,
}

impl Units {
    pub(super) fn new(systemctl: PathBuf) -> Self {
        Self { systemctl }
    }

    /// Has a running unit take up what changed. One that does not run reads it when it starts.
    pub(super) async fn reload(&self, unit: &str) -> anyhow::Result<()> {
        self.run(&["try-reload-or-restart", "--", unit]).await
    }

    /// Starts a unit, and waits until it is up.
    pub(super) async fn start(&self, unit: &str) -> anyhow::Result<()> {
        self.run(&["start", "--", unit]).await
    }

    /// Restarts a unit that runs.
    pub(super) async fn restart(&self, unit: &str) -> anyhow::Result<()> {
        self.run(&["try-restart", "--", unit]).await
    }

    /// Stops a unit, and waits until it is down.
    pub(super) async fn stop(&self, unit: &str) -> anyhow::Result<()> {
        self.run(&["stop", "--", unit]).await
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let said = arguments.join(" ");
        let program = self.systemctl.display();
        let output = Command::new(&self.systemctl)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let Ok(output) = timeout(PATIENCE, output).await else {
            bail!("{program} {said}: not done within {} s", PATIENCE.as_secs());
        };
        let output = output.with_context(|| format!("start {program}"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {said}: {}, {}", output.status, error.trim());
        }
        Ok(())
    }
}
