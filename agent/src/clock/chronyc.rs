//! Asks chronyd how the clock does.
//!
//! By `chronyc`, chronyd's own client, over chronyd's Unix socket: the kernel (`adjtimex(2)`) would say
//! whether *somebody* keeps the clock, not who, and not how well. The socket is named, as chronyc would
//! else fall back to UDP on the loopback interface, where anybody on the machine may answer.
//!
//! I/O: runs a program.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::tracking::Tracking;

/// How long chronyc may take; it gives chronyd up after seven seconds by itself.
const LIMIT: Duration = Duration::from_secs(15);

/// Most that is read of what it prints; a line has two hundred bytes.
const MAX_OUTPUT: u64 = 4096;

/// Most characters that are passed on of what it complains about, of which the first line counts.
const MAX_COMPLAINT: usize = 200;

/// How the clock does, by chronyd at this socket.
pub(super) async fn tracking(chronyc: &Path, socket: &Path) -> Result<Tracking> {
    let name = chronyc.display();
    let asking = ask(chronyc, socket);
    let Ok(answer) = timeout(LIMIT, asking).await else {
        bail!("{name} did not end within {} s", LIMIT.as_secs());
    };
    let answer = answer.with_context(|| format!("run {name}"))?;
    Tracking::parse(&answer).with_context(|| format!("read what {name} prints"))
}

async fn ask(chronyc: &Path, socket: &Path) -> Result<String> {
    let mut child = Command::new(chronyc)
        .args(["-c", "-n", "-h"])
        .arg(socket)
        .arg("tracking")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (printed, complained) = tokio::join!(
        beginning(child.stdout.take()),
        beginning(child.stderr.take())
    );
    let status = child.wait().await?;
    let printed = printed?;
    if !status.success() {
        // Some complaints are printed.
        let complaint = complained? + printed.as_str();
        let line = complaint.lines().next().unwrap_or_default();
        let line: String = line.escape_debug().take(MAX_COMPLAINT).collect();
        bail!("{status}: {line}");
    }
    Ok(printed)
}

/// What comes first from a pipe. The pipe is then closed, which ends a program that has more to say.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
