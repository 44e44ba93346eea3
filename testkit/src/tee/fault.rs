//! What can be wrong with evidence, one named case at a time.
//!
//! Each layer has its own list beside the code that makes it wrong; [`Fault`] is any of them. A
//! [`Tee`](super::Tee) has at most one fault, so that a verifier that refuses has one reason.
//!
//! I/O: none.

use std::fmt;

use super::ak_certificate::AkCertificateFault;
use super::azure_document::AzureDocumentFault;
use super::dcap_document::DcapDocumentFault;
use super::hcl::HclFault;
use super::pki::PkiFault;
use super::qe::QeFault;
use super::quote::QuoteFault;
use super::tcb::TcbFault;
use super::td::TdFault;
use super::tpm_quote::TpmFault;

/// One thing that is wrong with everything a [`Tee`](super::Tee) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Certificates and revocation lists.
    Pki(PkiFault),
    /// The platform's patch level and the TCB info that judges it.
    Tcb(TcbFault),
    /// The quoting enclave and its identity.
    Qe(QeFault),
    /// What runs in the TD.
    Td(TdFault),
    /// The TD quote's form and signatures.
    Quote(QuoteFault),
    /// Azure's HCL report and its runtime data.
    Hcl(HclFault),
    /// The vTPM's quote.
    Tpm(TpmFault),
    /// The certificates of the vTPM's AK.
    AkCertificate(AkCertificateFault),
    /// The azure-tdx document that carries it all.
    AzureDocument(AzureDocumentFault),
    /// The dcap-tdx document.
    DcapDocument(DcapDocumentFault),
}

impl Fault {
    /// Every fault there is.
    pub fn all() -> impl Iterator<Item = Self> {
        fn any<F: Copy + Into<Fault>>(faults: &'static [F]) -> impl Iterator<Item = Fault> {
            faults.iter().map(|fault| (*fault).into())
        }
        any(PkiFault::ALL)
            .chain(any(TcbFault::ALL))
            .chain(any(QeFault::ALL))
            .chain(any(TdFault::ALL))
            .chain(any(QuoteFault::ALL))
            .chain(any(HclFault::ALL))
            .chain(any(TpmFault::ALL))
            .chain(any(AkCertificateFault::ALL))
            .chain(any(AzureDocumentFault::ALL))
            .chain(any(DcapDocumentFault::ALL))
    }

    /// Whether azure-tdx evidence differs from valid evidence because of it.
    pub fn is_in_azure(self) -> bool {
        !matches!(self, Self::DcapDocument(_))
    }

    /// Whether dcap-tdx evidence differs from valid evidence because of it.
    pub fn is_in_dcap(self) -> bool {
        !matches!(
            self,
            Self::Hcl(_) | Self::Tpm(_) | Self::AkCertificate(_) | Self::AzureDocument(_)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Declares one layer's list: the variant of [`Fault`] it belongs to, its name, its cases.
macro_rules! faults {
    (
        $(#[$about:meta])*
        $layer:ident($name:ident) { $($(#[$case:meta])* $variant:ident,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$case])* $variant,)+ }

        impl $name {
            /// Every case.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl From<$name> for $crate::tee::fault::Fault {
            fn from(fault: $name) -> Self {
                Self::$layer(fault)
            }
        }
    };
}
pub(super) use faults;
