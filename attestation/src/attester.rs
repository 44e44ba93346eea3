//! Who makes evidence. Implementations belong to programs, which have the hardware.
//!
//! I/O: none.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;

use crate::binding::Binding;
use crate::evidence::{Evidence, EvidenceKind};

/// Evidence that is being made. A TPM takes tens of milliseconds, a host's service seconds.
pub type Attesting<'a> = Pin<Box<dyn Future<Output = Result<Evidence, AttestError>> + Send + 'a>>;

/// Makes evidence of the machine it runs on.
pub trait Attester: Send + Sync {
    /// Makes evidence that is bound to `binding`, in the form of its protocol.
    ///
    /// # Errors
    ///
    /// [`AttestError`] if the hardware, or the host's service, did not answer as it must.
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a>;

    /// As evidence of which kind it is shown: its own, but for who tries what a peer makes of
    /// something else.
    fn shown_as(&self, evidence: &Evidence) -> EvidenceKind {
        evidence.kind()
    }
}

impl<A: Attester + ?Sized> Attester for Arc<A> {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        (**self).attest(binding)
    }

    fn shown_as(&self, evidence: &Evidence) -> EvidenceKind {
        (**self).shown_as(evidence)
    }
}

/// No evidence could be made.
#[derive(Debug, thiserror::Error)]
#[error("make evidence")]
pub struct AttestError {
    /// Why not.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl AttestError {
    /// For this reason.
    pub fn of(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}
