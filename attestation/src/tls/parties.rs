//! Who verifies a peer's evidence, as far as a connection has to know.
//!
//! I/O: none.

use crate::attester::{Attester, Attesting};
use crate::binding::Binding;
use crate::evidence::{Evidence, EvidenceError, EvidenceKind};

use super::error::BoxError;
use super::peer::Protocol;

/// Verifies evidence of peers and decides whether it is good enough to talk to them.
///
/// What it needs for that, such as collateral and the time, is its own.
pub trait PeerVerifier: Send + Sync {
    /// What evidence proves.
    type Claims: Send;

    /// Verifies that `shown` proves a machine that may be talked to.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it; the connection is refused with this as the cause.
    fn verify(
        &self,
        shown: Shown<'_>,
    ) -> impl Future<Output = Result<Self::Claims, BoxError>> + Send;
}

/// What a peer has shown on a connection. Nothing of it is verified but the binding, which is
/// this side's own.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// How it came.
    pub protocol: Protocol,
    /// What kind of evidence the peer says it is.
    pub kind: EvidenceKind,
    /// The evidence.
    pub document: &'a [u8],
    /// What the evidence must be bound to.
    pub binding: &'a Binding,
}

impl Shown<'_> {
    /// Parses the document in the form of its protocol.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] if it is of another form.
    pub fn evidence(&self) -> Result<Evidence, EvidenceError> {
        match self.protocol {
            Protocol::Ratls => Evidence::parse_ratls(self.kind, self.document),
            Protocol::Atls | Protocol::Plain => Evidence::parse_atls(self.kind, self.document),
        }
    }
}

/// Does not exist: the attester or verifier of a side that has none.
#[derive(Clone, Copy, Debug)]
pub enum Nobody {}

impl Attester for Nobody {
    fn attest<'a>(&'a self, _: &'a Binding) -> Attesting<'a> {
        match *self {}
    }
}

impl PeerVerifier for Nobody {
    type Claims = Self;

    async fn verify(&self, _: Shown<'_>) -> Result<Self::Claims, BoxError> {
        match *self {}
    }
}
