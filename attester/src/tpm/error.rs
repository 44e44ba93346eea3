//! Why a TPM did not do what it was told.
//!
//! I/O: none.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::code::ResponseCode;

/// Why a TPM did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// There is no TPM, or not for this program.
    #[error("open the TPM at {}", path.display())]
    Open {
        /// Where it was expected.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A command of somebody else does not end.
    #[error("the TPM is busy with another command for more than {} s", limit.as_secs())]
    Busy {
        /// How long that was waited for.
        limit: Duration,
    },
    /// The TPM does not answer. It may still be at it: later commands will wait.
    #[error("{command}: no answer within {} s", limit.as_secs())]
    Timeout {
        /// The command.
        command: String,
        /// How long that was waited for.
        limit: Duration,
    },
    /// The device failed, or what came is not a TPM's message.
    #[error("{command}: exchange messages with the TPM")]
    Exchange {
        /// The command.
        command: String,
        /// What the kernel says, or what is wrong with the message.
        #[source]
        source: io::Error,
    },
    /// The TPM refused.
    #[error("{command}: the TPM refused with {code}")]
    Refused {
        /// The command.
        command: String,
        /// Why.
        code: ResponseCode,
    },
    /// The response is not one to this command, or has a value that it cannot have.
    #[error("{command}: the TPM's response is malformed")]
    Malformed {
        /// The command.
        command: String,
        /// What is wrong.
        #[source]
        source: super::response::ResponseError,
    },
    /// A command cannot be written.
    #[error("write a TPM command: {0}")]
    Command(tpm2_protocol::TpmError),
    /// The runtime is shutting down.
    #[error("{command}: the program is ending")]
    Ending {
        /// The command.
        command: String,
    },
}

impl TpmError {
    /// Whether the TPM said that there is no key or NV index of this number.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.is_absent())
    }
}
