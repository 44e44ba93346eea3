//! The machine this runs on, as an attester that is looked for until it is there.
//!
//! A TPM's or TDX' device may appear after this program has started. Which kind of machine it is
//! does not change, so what was found once stays.
//!
//! I/O: as crate `attester` has it.

use attestation::{AttestError, Attester, Attesting, Binding, Evidence, EvidenceKind};
use attester::{Choice, PlatformAttester, Settings};
use tokio::sync::OnceCell;

/// Makes evidence of this machine as soon as its TEE is there.
pub(super) struct Node {
    choice: Choice,
    settings: Settings,
    found: OnceCell<PlatformAttester>,
}

impl Node {
    pub(super) fn new(choice: Choice, settings: Settings) -> Self {
        Self {
            choice,
            settings,
            found: OnceCell::new(),
        }
    }

    /// Looks for the TEE, has it make ready, and says in the log what came of it.
    pub(super) async fn look(&self) {
        match self.prepare().await {
            Ok(kind) => tracing::info!(%kind, "this machine attests"),
            Err(error) => tracing::warn!(
                error = %format_args!("{:#}", anyhow::Error::from(error)),
                "this machine cannot attest, or not yet: nobody can verify it; \
                 its TEE is looked for again with each attested handshake"
            ),
        }
    }

    async fn prepare(&self) -> Result<EvidenceKind, AttestError> {
        let platform = self.platform().await?;
        platform.prepare().await?;
        Ok(platform.kind())
    }

    async fn platform(&self) -> Result<&PlatformAttester, AttestError> {
        let open = || async { attester::open(self.choice, &self.settings) };
        self.found
            .get_or_try_init(open)
            .await
            .map_err(AttestError::of)
    }

    async fn evidence(&self, binding: &Binding) -> Result<Evidence, AttestError> {
        self.platform().await?.attest(binding).await
    }
}

impl Attester for Node {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(self.evidence(binding))
    }
}
