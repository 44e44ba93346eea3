//! A machine that has been started.
//!
//! I/O: starts QEMU, speaks QMP, writes logs to the run directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Machine, Sockets};
use crate::child::{Child, ToolError, dependent};
use crate::console::Console;
use crate::ports::parse_usernet;
use crate::qmp::{Qmp, QmpError};
use crate::tpm::Tpm;

/// How long QEMU may take until it answers.
const QMP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a guest under emulation may take from the power button to its first word.
pub const POWER_BUTTON_GRACE: Duration = Duration::from_secs(8);

/// Why a machine could not be started or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// A file of the run directory failed.
    #[error("use the run directory")]
    Io(#[source] io::Error),

    /// QEMU could not be started.
    #[error(transparent)]
    Tool(#[from] ToolError),

    /// QEMU ended while it was being started.
    #[error("QEMU ended at once: {0}")]
    Ended(String),

    /// QEMU did not do what it was asked.
    #[error(transparent)]
    Qmp(#[from] QmpError),

    /// QEMU did not forward a port.
    #[error("QEMU does not forward port {port}: {reason}")]
    Forward {
        /// The guest's port.
        port: u16,
        /// What its monitor said.
        reason: String,
    },
}

/// A running machine, killed when dropped.
#[derive(Debug)]
pub struct Running {
    qemu: Mutex<Child>,
    monitor: Monitor,
    console: Console,
    started: Instant,
    directory: PathBuf,
    memory: u32,
}

/// Executes QMP commands on a running machine; clones do it on the same.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Mutex<Qmp>>);

impl Monitor {
    /// Executes a QMP command.
    ///
    /// # Errors
    ///
    /// [`MachineError::Qmp`] if QEMU refuses or has gone.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value, MachineError> {
        Ok(self.lock().execute(command, arguments)?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Qmp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    /// Starts the machine with `tpm`, unless it is to have none; sockets and logs go to `directory`,
    /// which must exist.
    ///
    /// # Errors
    ///
    /// [`MachineError`] if QEMU is missing or does not like its arguments.
    pub fn start(&self, directory: &Path, tpm: &Tpm) -> Result<Running, MachineError> {
        let sockets = Sockets {
            tpm: tpm.socket().to_owned(),
            qmp: directory.join("qmp.sock"),
        };
        let create = |name: &str| File::create(directory.join(name)).map_err(MachineError::Io);
        let arguments = self.arguments(&sockets);
        let mut command = dependent("qemu-system-x86_64");
        command
            .args(&arguments)
            // The copy-on-write layers of `snapshot=on` go here.
            .env("TMPDIR", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(create("qemu.log")?);
        let log = create("console.log")?;
        std::fs::write(directory.join("qemu.arguments"), arguments.join("\n"))
            .map_err(MachineError::Io)?;
        let started = Instant::now();
        let mut qemu = Child::spawn(&mut command)?;
        let console = match qemu.take_stdout() {
            Some(output) => Console::follow(output, started, log, self.echo),
            None => Console::default(),
        };
        let qmp = connect(&sockets.qmp, &mut qemu, directory)?;
        Ok(Running {
            qemu: Mutex::new(qemu),
            monitor: Monitor(Arc::new(Mutex::new(qmp))),
            console,
            started,
            directory: directory.to_owned(),
            memory: self.memory,
        })
    }
}

/// Waits for QEMU to listen, but not if it has ended.
fn connect(socket: &Path, qemu: &mut Child, directory: &Path) -> Result<Qmp, MachineError> {
    let end = Instant::now() + QMP_TIMEOUT;
    loop {
        if qemu.try_wait().is_some() {
            let log = std::fs::read_to_string(directory.join("qemu.log"));
            let log = log.map_err(MachineError::Io)?;
            return Err(MachineError::Ended(log.trim().to_owned()));
        }
        match Qmp::connect(socket, Duration::from_millis(100)) {
            Ok(qmp) => return Ok(qmp),
            Err(error) if Instant::now() >= end => return Err(error.into()),
            Err(_) => {}
        }
    }
}

impl Running {
    /// The console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where its logs are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Memory in MiB.
    pub fn memory(&self) -> u32 {
        self.memory
    }

    /// Takes the console's input; closing it does no harm.
    pub fn take_console_input(&self) -> Option<ChildStdin> {
        self.qemu().take_stdin()
    }

    /// The port that leads to the guest's TCP port: at the address of its [`Forward`] if it has
    /// one; else it is made, on 127.0.0.1.
    ///
    /// [`Forward`]: super::Forward
    ///
    /// # Errors
    ///
    /// [`MachineError::Forward`] if QEMU refuses.
    pub fn forward_tcp(&self, guest_port: u16) -> Result<u16, MachineError> {
        self.forward("tcp", "TCP[HOST_FORWARD]", guest_port)
    }

    /// The port on 127.0.0.1 that leads to the guest's UDP port, made if there is none.
    ///
    /// # Errors
    ///
    /// [`MachineError::Forward`] if QEMU refuses.
    pub fn forward_udp(&self, guest_port: u16) -> Result<u16, MachineError> {
        self.forward("udp", "UDP[HOST_FORWARD]", guest_port)
    }

    /// QEMU's table of forwards and connections, for [`parse_usernet`].
    ///
    /// # Errors
    ///
    /// [`MachineError::Qmp`] if QEMU has gone.
    pub fn usernet(&self) -> Result<String, MachineError> {
        Ok(self.qmp().human("info usernet")?)
    }

    /// Executes a QMP command.
    ///
    /// # Errors
    ///
    /// [`MachineError::Qmp`] if QEMU refuses or has gone.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value, MachineError> {
        self.monitor.execute(command, arguments)
    }

    /// What executes QMP commands in other threads.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// QEMU's process id.
    pub fn process(&self) -> u32 {
        self.qemu().id()
    }

    /// The exit status, if the machine has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.qemu().try_wait()
    }

    /// Presses the power button and waits for the guest to shut down.
    ///
    /// Returns whether it did within `timeout`; if not, it is killed. A guest that says nothing
    /// on its console for [`POWER_BUTTON_GRACE`] does not listen to the button, and is not
    /// waited for.
    pub fn power_down(&self, timeout: Duration) -> bool {
        self.power_down_with(timeout, POWER_BUTTON_GRACE)
    }

    /// The same for a guest that listens: it may be silent for as long as it likes, as others may keep the
    /// processor busy.
    pub fn shut_down(&self, timeout: Duration) -> bool {
        self.power_down_with(timeout, timeout)
    }

    fn power_down_with(&self, timeout: Duration, grace: Duration) -> bool {
        let said = self.console.lines().len();
        // Fails if the machine has ended already, which is what is wanted.
        let _ = self.execute("system_powerdown", json!({}));
        let grace = grace.min(timeout);
        self.qemu().wait_timeout(grace);
        if self.console.lines().len() > said {
            self.qemu().wait_timeout(timeout.saturating_sub(grace));
        }
        let ended = self.ended().is_some();
        self.kill();
        ended
    }

    /// Ends the machine as a power cut would.
    pub fn kill(&self) {
        self.qemu().kill();
    }

    fn forward(&self, protocol: &str, state: &str, guest: u16) -> Result<u16, MachineError> {
        if let Some(host) = self.forwarded(state, guest)? {
            return Ok(host);
        }
        let command = format!("hostfwd_add n0 {protocol}:127.0.0.1:0-:{guest}");
        let reason = self.qmp().human(&command)?;
        self.forwarded(state, guest)?
            .ok_or_else(|| MachineError::Forward {
                port: guest,
                reason: reason.trim().to_owned(),
            })
    }

    fn forwarded(&self, state: &str, guest: u16) -> Result<Option<u16>, MachineError> {
        Ok(parse_usernet(&self.usernet()?)
            .into_iter()
            .find(|connection| connection.state == state && connection.guest_port == guest)
            .map(|connection| connection.host_port))
    }

    fn qmp(&self) -> std::sync::MutexGuard<'_, Qmp> {
        self.monitor.lock()
    }

    fn qemu(&self) -> std::sync::MutexGuard<'_, Child> {
        self.qemu.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
