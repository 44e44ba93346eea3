//! A software TPM for a virtual machine, which can be asked from outside while the guest uses it.
//!
//! swtpm implements the TPM; between it and QEMU sits a [`proxy`], so that our own commands fit
//! between the guest's. The registers can also be read after the machine has gone.
//!
//! I/O: starts swtpm, listens on a socket in the run directory, keeps TPM state in the state
//! directory.

pub mod client;
pub mod control;
pub mod extends;
mod obstacle;
pub mod proxy;
mod watch;
pub mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use client::{Bank, Client, Pcrs};

use crate::child::{Child, ToolError, dependent};
use control::Channel;
use extends::Extends;
use obstacle::Obstacle;
use watch::Watchers;

/// How long swtpm may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the TPM did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// swtpm could not be started.
    #[error(transparent)]
    Tool(#[from] ToolError),

    /// swtpm's sockets or files failed.
    #[error("talk to the software TPM")]
    Io(#[from] std::io::Error),

    /// A TPM command was refused: response code of TPM 2.0 Library Part 2, 6.6.
    #[error("TPM command {command:#06x} was refused with {code:#05x}")]
    Refused {
        /// The command code.
        command: u32,
        /// The response code.
        code: u32,
    },

    /// A response ended too early or had a value that cannot be.
    #[error("malformed TPM response: {0}")]
    Malformed(&'static str),

    /// swtpm's control channel refused a command: result code of `tpm_ioctl.h`.
    #[error("swtpm refused control command {command} with {code:#x}")]
    Control {
        /// The control command.
        command: u32,
        /// The result.
        code: u32,
    },
}

/// A running software TPM.
///
/// Dropping it shuts the TPM down; its state directory stays and can be used again.
#[derive(Debug)]
pub struct Tpm {
    channel: Arc<Channel>,
    socket: PathBuf,
    extends: Extends,
    watchers: Watchers,
    obstacle: Obstacle,
    // Last field: dropped after the shutdown command has been sent.
    swtpm: Child,
}

impl Tpm {
    /// Starts a TPM whose state is in `state` (made if missing; empty means factory-new) and
    /// whose sockets and log are in `run`.
    ///
    /// # Errors
    ///
    /// [`TpmError::Tool`] without swtpm, [`TpmError::Io`] if it does not listen in time.
    pub fn start(state: &Path, run: &Path) -> Result<Self, TpmError> {
        fs::create_dir_all(state)?;
        let control = run.join("swtpm.ctrl");
        let socket = run.join("tpm.sock");
        for stale in [&control, &socket] {
            if stale.exists() {
                fs::remove_file(stale)?;
            }
        }
        let log = fs::File::create(run.join("swtpm.log"))?;
        let mut command = dependent("swtpm");
        command
            .args(["socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdout(log.try_clone()?)
            .stderr(log);
        let swtpm = Child::spawn(&mut command)?;
        let channel = Arc::new(Channel::connect(&control, START_TIMEOUT)?);
        let (extends, watchers) = (Extends::default(), Watchers::default());
        let obstacle = Obstacle::default();
        let machines = proxy::Machines {
            channel: Arc::clone(&channel),
            extends: extends.clone(),
            watchers: watchers.clone(),
            obstacle: obstacle.clone(),
        };
        proxy::listen(&socket, machines)?;
        Ok(Self {
            channel,
            socket,
            extends,
            watchers,
            obstacle,
            swtpm,
        })
    }

    /// Powers the TPM on without a machine, as is needed to provision it.
    ///
    /// A machine that is started later resets it.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM refuses.
    pub fn power_on(&self) -> Result<(), TpmError> {
        self.channel.init()?;
        self.client().startup()
    }

    /// The socket that QEMU's `-chardev socket` connects to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What machines have extended into the registers since they were switched on.
    pub fn extends(&self) -> &Extends {
        &self.extends
    }

    /// Has `watcher` called with each command of a machine that the TPM has obeyed, before the
    /// machine sees the answer.
    pub fn watch(&self, watcher: impl Fn(&[u8]) + Send + Sync + 'static) {
        self.watchers.add(watcher);
    }

    /// Has the commands of these codes answered by "retry" when a machine gives them, from now on; no
    /// codes, and all are obeyed again. Our own commands always are.
    pub fn be_busy(&self, codes: impl IntoIterator<Item = u32>) {
        self.obstacle.set(codes);
    }

    /// A client whose commands are serialised with the guest's.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.channel))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // An orderly shutdown writes the state; if swtpm is gone already there is nothing to do.
        if self.channel.shutdown().is_ok() {
            self.swtpm.wait_timeout(Duration::from_secs(5));
        }
    }
}
