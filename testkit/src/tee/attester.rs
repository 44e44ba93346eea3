//! A TEE in the place of the hardware behind `attestation`'s trait.
//!
//! Only the trait and the types in it are used: documents are written here and parsed there.
//!
//! I/O: none.

use attestation::evidence::EvidenceError;
use attestation::{AttestError, Attester, Attesting, Binding, Evidence, EvidenceKind};

use super::Tee;

/// Makes evidence of one kind with a [`Tee`].
///
/// Evidence whose document cannot even be parsed is an [`AttestError`] here; who wants to send such
/// a document takes it from the [`Tee`].
#[derive(Clone)]
pub struct TeeAttester {
    tee: Tee,
    kind: EvidenceKind,
}

impl Tee {
    /// This machine as an attester of a kind.
    pub fn attester(&self, kind: EvidenceKind) -> TeeAttester {
        TeeAttester {
            tee: self.clone(),
            kind,
        }
    }

    /// The document of a kind, in the form of the binding's protocol; malformed if that is the
    /// fault.
    pub fn document(&self, kind: EvidenceKind, binding: &Binding) -> Vec<u8> {
        let report_data = binding.report_data();
        let mut half = [0; 32];
        half.copy_from_slice(&report_data[..32]);
        match (kind, binding.user_data()) {
            (EvidenceKind::AzureTdx, Some(user_data)) => {
                self.azure_atls_about(user_data, half).atls_document()
            }
            (EvidenceKind::AzureTdx, None) => self.azure_ratls(report_data).ratls_document(),
            (EvidenceKind::DcapTdx, Some(user_data)) => {
                self.dcap(report_data, user_data).atls_document()
            }
            (EvidenceKind::DcapTdx, None) => self.dcap_ratls(report_data).td_quote,
        }
    }
}

impl TeeAttester {
    fn evidence(&self, binding: &Binding) -> Result<Evidence, EvidenceError> {
        let document = self.tee.document(self.kind, binding);
        match binding.user_data() {
            Some(_) => Evidence::parse_atls(self.kind, &document),
            None => Evidence::parse_ratls(self.kind, &document),
        }
    }
}

impl Attester for TeeAttester {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move { self.evidence(binding).map_err(AttestError::of) })
    }
}
