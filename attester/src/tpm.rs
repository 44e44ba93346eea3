//! Talks to a TPM 2.0: the few commands that evidence takes.
//!
//! Commands are written, and most responses read, with the crate `tpm2-protocol`; what a command
//! is for is in [`Session`]. A TPM does one thing at a time, and evidence takes several commands that
//! belong together, so a [`Session`] has the TPM for itself.
//!
//! Left out: sessions with HMAC or encryption. The device belongs to the machine, and what matters
//! of its answers is signed. Who needs other commands writes them and sends them by
//! [`Session::transact`], as the crate `sealed-key` does.
//!
//! I/O: the TPM's device or socket, on the runtime's threads for blocking work.

mod channel;
mod code;
mod command;
mod error;
pub mod response;
mod session;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::code::ResponseCode;
pub use self::error::TpmError;
pub use self::session::Session;
use crate::Patience;

/// The device of the kernel's resource manager.
pub const DEVICE: &str = "/dev/tpmrm0";

/// A quote takes a vTPM some 10 ms and a slow TPM a second. The kernel's own limit for unknown
/// commands is minutes.
const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(20),
    tries: 8,
    pause: Duration::from_millis(20),
    longest_pause: Duration::from_secs(1),
};

/// A TPM of this machine. Clones are the same TPM and wait for one another.
#[derive(Clone, Debug)]
pub struct Tpm {
    path: Arc<Path>,
    turn: Arc<Mutex<()>>,
    patience: Patience,
}

impl Tpm {
    /// The TPM at a path: a character device such as [`DEVICE`], or a Unix stream socket on which a
    /// software TPM takes plain commands. It is opened for each [`Session`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Arc::from(path.into()),
            turn: Arc::new(Mutex::new(())),
            patience: PATIENCE,
        }
    }

    /// The same TPM with another patience: with one command, and with a TPM that says "retry".
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else uses the TPM through this value or its clones, and opens it.
    ///
    /// # Errors
    ///
    /// [`TpmError::Open`] if it cannot be opened; [`TpmError::Busy`] if a command of somebody else
    /// does not end.
    pub async fn session(&self) -> Result<Session, TpmError> {
        Session::open(self).await
    }
}
