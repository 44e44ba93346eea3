//! Ctrl-C and SIGTERM.
//!
//! I/O: blocks signals; a thread waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Tells whether the user wants to stop.
#[derive(Clone, Debug)]
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Whether a signal has come.
    pub(crate) fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Blocks both signals and has a thread wait for them. The second one ends the program at once;
/// the machines end with it.
pub(crate) fn block() -> Result<Signals> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().context("block signals")?;
    let signals = Signals(Arc::default());
    let flag = Arc::clone(&signals.0);
    thread::spawn(move || {
        while set.wait().is_ok() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(2);
            }
        }
    });
    Ok(signals)
}

/// Has a program started that is to be ended by a signal: what is blocked here would be blocked there.
///
/// A signal that comes meanwhile ends us, and with us all that we have started.
pub(crate) fn starting<T>(start: impl FnOnce() -> T) -> Result<T> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    let before = set.thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let before = before.context("unblock signals")?;
    let started = start();
    before.thread_set_mask().context("block signals")?;
    Ok(started)
}
