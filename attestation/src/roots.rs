//! Whom a verifier trusts: the certificates at which chains must end.
//!
//! Pinned, in `roots/`, are (SHA-256 of the DER):
//! - Intel SGX Root CA, which vouches for TD quotes and collateral:
//!   `44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3`
//! - Microsoft RSA Devices Root CA 2021, for AKs of older Azure machines:
//!   `8c2bb9144d4970c94fb8105cc5d860a58e2e675eb360fdd8c14b30833aaaec1d`
//! - Azure Virtual TPM Root Certificate Authority 2023, for the newer ones:
//!   `e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95`
//!
//! Where they are from, and what they were compared with:
//! - Intel publishes its root at
//!   <https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer>;
//!   it is the last certificate in the chain of every captured quote, byte by byte.
//! - Microsoft publishes the roots and intermediates of its vTPMs in the "Certificates" section of
//!   <https://learn.microsoft.com/azure/virtual-machines/trusted-launch-faq>. The SHA-1 thumbprint
//!   given there for the root of 2023 is `cdb9bc34197a5355f652f1583fbd4e9a1d4801f0`, which is that
//!   of the pinned file; the AK certificate of a captured machine chains to it through
//!   Global Virtual TPM CA - 03. No captured machine chains to the root of 2021, and no published
//!   thumbprint of it was found to compare with: it is pinned as existing verifiers do.
//!
//! I/O: none.

const INTEL_SGX_ROOT: &[u8] = include_bytes!("../roots/intel-sgx-root-ca.der");

const AZURE_AK_ROOTS: [&[u8]; 2] = [
    include_bytes!("../roots/microsoft-rsa-devices-root-ca-2021.der"),
    include_bytes!("../roots/azure-virtual-tpm-root-ca-2023.der"),
];

/// Global Virtual TPM CA - 03, which the second root issued until 2027-04-24 and which evidence
/// often lacks. It is not trusted for being here: it must chain to a root like any other.
pub(crate) const AZURE_AK_INTERMEDIATE: &[u8] =
    include_bytes!("../roots/global-virtual-tpm-ca-03.der");

/// The certificates at which chains must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoots {
    intel: Vec<u8>,
    azure_ak: Vec<Vec<u8>>,
    are_pinned: bool,
}

impl TrustRoots {
    /// The real ones. Nothing else belongs into a program but behind an option whose name warns.
    pub fn pinned() -> Self {
        Self {
            intel: INTEL_SGX_ROOT.to_vec(),
            azure_ak: AZURE_AK_ROOTS.iter().map(|root| root.to_vec()).collect(),
            are_pinned: true,
        }
    }

    /// Trusts somebody else *instead of* Intel and Microsoft, who then can make any evidence.
    ///
    /// For tests and simulators. Both are DER certificates: the one that vouches for quotes and
    /// collateral, and those that vouch for AKs.
    pub fn danger_trust_instead(intel: Vec<u8>, azure_ak: Vec<Vec<u8>>) -> Self {
        Self {
            intel,
            azure_ak,
            are_pinned: false,
        }
    }

    /// Whether these are the real ones.
    pub fn are_pinned(&self) -> bool {
        self.are_pinned
    }

    pub(crate) fn intel(&self) -> &[u8] {
        &self.intel
    }

    pub(crate) fn azure_ak(&self) -> impl Iterator<Item = &[u8]> {
        self.azure_ak.iter().map(Vec::as_slice)
    }
}
