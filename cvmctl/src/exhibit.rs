//! What a machine has shown on a connection, with all that says which connection it was.
//!
//! I/O: none.

use attestation::binding::SpkiError;
use attestation::tls::certificate::{self, CertificateError};
use attestation::tls::{Protocol, Shown};
use attestation::{Binding, EvidenceKind};

/// What was shown. Nothing of it is verified.
#[derive(Debug, Clone)]
pub(crate) struct Exhibit {
    pub(crate) kind: EvidenceKind,
    pub(crate) document: Vec<u8>,
    /// The certificate of the connection, DER; `None` if there was none.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) challenge: Challenge,
}

/// What makes evidence that of one connection, beside the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// aTLS: what this side chose.
    Nonce(Vec<u8>),
    /// `flashbots-ratls/1`: what both sides derived.
    Exporter([u8; 32]),
}

/// Why an exhibit is not of one connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExhibitError {
    #[error("the certificate cannot be used")]
    Certificate(#[from] CertificateError),
    #[error("the certificate's key cannot be used")]
    Key(#[from] SpkiError),
    #[error("expected a certificate, which aTLS evidence travels in, got none")]
    NoCertificate,
    #[error("the document is not the one in the certificate")]
    OtherDocument,
}

impl Challenge {
    /// What a binding was made of, but for the key.
    pub(crate) fn of(binding: &Binding) -> Option<Self> {
        let nonce = binding.nonce().map(|nonce| Self::Nonce(nonce.to_vec()));
        nonce.or_else(|| binding.exporter().map(Self::Exporter))
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Nonce(_) => Protocol::Atls,
            Self::Exporter(_) => Protocol::Ratls,
        }
    }
}

impl Exhibit {
    /// What the evidence must be bound to, computed anew from the certificate's key.
    ///
    /// # Errors
    ///
    /// [`ExhibitError`] if the parts do not belong together.
    pub(crate) fn binding(&self) -> Result<Binding, ExhibitError> {
        let certificate = self.certificate.as_deref();
        let certificate = certificate.map(certificate::parse).transpose()?;
        match &self.challenge {
            Challenge::Nonce(nonce) => {
                let certificate = certificate.ok_or(ExhibitError::NoCertificate)?;
                if certificate.evidence != Some((self.kind, &*self.document)) {
                    return Err(ExhibitError::OtherDocument);
                }
                Ok(Binding::atls(certificate.spki, nonce))
            }
            Challenge::Exporter(exporter) => {
                let spki = certificate.map(|certificate| certificate.spki);
                Ok(Binding::ratls(spki, exporter)?)
            }
        }
    }

    /// The same, as verifiers take it.
    pub(crate) fn shown<'a>(&'a self, binding: &'a Binding) -> Shown<'a> {
        Shown {
            protocol: self.challenge.protocol(),
            kind: self.kind,
            document: &self.document,
            binding,
        }
    }
}

/// A protocol's name, as flags and JSON spell it.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Atls => "atls",
        Protocol::Ratls => "ratls",
        Protocol::Plain => "plain",
    }
}
