//! Whether a machine shuts down in order: a node that does not loses what it has not written.
//!
//! I/O: presses the machine's power button.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::console::Line;
use testkit::machine::Running;

/// That the data disk is in use, and that it is not any more, on the console.
const MOUNTED: &str = "disk: it is mounted";
const CLOSED: &str = "disk: it is unmounted and closed";

/// What QEMU has written comes through a pipe.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Presses the power button; the machine has ended when this returns.
///
/// # Errors
///
/// It did not end by itself within `timeout`; or it has not closed the disk that it had open.
pub(crate) fn in_order(machine: &Running, timeout: Duration) -> Result<()> {
    let has_ended = machine.shut_down(timeout);
    ensure!(has_ended, "it does not shut down by itself: killed");
    let console = machine.console();
    // Until it is closed.
    let _ = console.wait(LAST_WORDS, |_| None::<()>);
    ensure_closed(&console.lines())
}

fn ensure_closed(lines: &[Line]) -> Result<()> {
    let last = |text| lines.iter().rposition(|line| line.text.contains(text));
    ensure!(
        last(CLOSED) >= last(MOUNTED),
        "it has ended with its data disk open: it has not said {CLOSED:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_order(lines: &[&str]) -> bool {
        let line = |text: &&str| Line {
            at: Duration::ZERO,
            text: format!("cvm-agent[1]: {text}"),
        };
        ensure_closed(&lines.iter().map(line).collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn a_disk_that_was_mounted_has_to_be_closed() {
        let mounted = "disk: it is mounted, after 3.5 s";
        assert!(is_in_order(&["ready: this node is ready"]));
        assert!(is_in_order(&[mounted, "else", CLOSED]));
        assert!(!is_in_order(&[mounted, "else"]));
        assert!(!is_in_order(&[CLOSED, mounted]));
    }
}
