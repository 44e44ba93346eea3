//! Who makes evidence. Implementations belong to programs, which have the hardware.
//!
//! I/O: none.

use std::error::Error;
use std::pin::Pin;

use crate::binding::Binding;
use crate::evidence::{Evidence, EvidenceKind};

/// Evidence that is being made. A TPM takes tens of milliseconds, a host's service seconds.
pub type Attesting<'a> = Pin<Box<dyn Future<Output = Result<Evidence, AttestError>> + Send + 'a>>;

/// Makes evidence of the machine it runs on.
pub trait Attester: Send + Sync {
    /// What kind of evidence it makes, always the same.
    fn kind(&self) -> EvidenceKind;

    /// Makes evidence that is bound to `binding`, in the form of its protocol.
    ///
    /// # Errors
    ///
    /// [`AttestError`] if the hardware, or the host's service, did not answer as it must.
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a>;
}

/// No evidence could be made.
#[derive(Debug, thiserror::Error)]
#[error("make {kind} evidence")]
pub struct AttestError {
    /// Of which kind.
    pub kind: EvidenceKind,
    /// Why not.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}
