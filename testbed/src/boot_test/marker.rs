//! Finds out whether an attack had an effect.
//!
//! I/O: reads a session's console; Unix sockets of devices that were plugged in.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::console::Line;

use crate::session::Session;

/// Fails if the console shows any of the markers.
pub(super) fn ensure_absent(session: &Session, markers: &[&str]) -> Result<()> {
    let lines = session.machine.console().lines();
    match find(&lines, markers) {
        Some(line) => bail!("it had an effect: {}", line.text),
        None => Ok(()),
    }
}

/// The first line with any of the markers, in capitals or not.
pub(super) fn find<'a>(lines: &'a [Line], markers: &[&str]) -> Option<&'a Line> {
    lines.iter().find(|line| {
        let text = line.text.to_lowercase();
        markers
            .iter()
            .any(|marker| text.contains(&marker.to_lowercase()))
    })
}

/// Presses Enter a few times on a console that was plugged in; fails if anything answers.
pub(super) fn ensure_silent(socket: &Path, patience: Duration) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("connect to the device")?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let end = Instant::now() + patience;
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while Instant::now() < end {
        // A device that nobody reads fills up: that is silence too.
        let _ = stream.write_all(b"\r\n");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend(buffer.iter().take(length)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("read from the device"),
        }
    }
    let text = testkit::console::plain(&said);
    ensure!(text.trim().is_empty(), "it answered: {text:.200}");
    Ok(())
}

/// Presses Enter on the console and fails if a prompt comes.
pub(super) fn ensure_no_prompt(session: &Session, patience: Duration) -> Result<()> {
    let Some(mut input) = session.machine.take_console_input() else {
        bail!("the console has no input");
    };
    let console = session.machine.console();
    let before = console.lines().len();
    for _ in 0..3 {
        input
            .write_all(b"\r\n")
            .and_then(|()| input.flush())
            .context("press Enter")?;
        std::thread::sleep(patience / 3);
    }
    let lines = console.lines();
    let prompt = lines.iter().skip(before).find(|line| is_prompt(&line.text));
    match prompt {
        Some(line) => bail!("a prompt: {}", line.text),
        None => Ok(()),
    }
}

/// Whether a line is a login prompt or a shell's.
fn is_prompt(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with("login:")
        || text.ends_with("Password:")
        || text.contains("for maintenance")
        || text.ends_with('#')
        || text.ends_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_known() {
        for text in ["cvm login: ", "root@cvm:~# ", "Press Enter for maintenance"] {
            assert!(is_prompt(text), "{text}");
        }
        assert!(!is_prompt("[  OK  ] Reached target getty.target"));
    }
}
