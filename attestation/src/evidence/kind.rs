//! The kinds of evidence, and what they are called where.
//!
//! I/O: none.

use std::fmt;

use measurements::reference::AttestationType;

/// A kind of evidence that can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// A TDX machine of Azure: registers are PCR 0 to 23 of the SHA-256 bank.
    AzureTdx,
    /// A TDX machine without a vTPM: register 0 is MRTD, 1 to 4 are RTMR 0 to 3.
    DcapTdx,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::AzureTdx, Self::DcapTdx];

    /// The object identifier of the extension that carries an aTLS document, as its arcs.
    pub const fn oid(self) -> &'static [u64] {
        match self {
            Self::AzureTdx => &[1, 3, 9900, 4, 3],
            Self::DcapTdx => &[1, 3, 9900, 5, 99],
        }
    }

    /// The content of the DER encoding of [`oid`](Self::oid), without tag and length.
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            Self::AzureTdx => &[0x2b, 0xcd, 0x2c, 0x04, 0x03],
            Self::DcapTdx => &[0x2b, 0xcd, 0x2c, 0x05, 0x63],
        }
    }

    /// The kind whose aTLS extension has this identifier, if it is one.
    pub fn from_oid_der(content: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.oid_der() == content)
    }

    /// The name in measurement files, `flashbots-ratls/1` messages and command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AzureTdx => "azure-tdx",
            Self::DcapTdx => "dcap-tdx",
        }
    }

    /// The kind that has this name; `qemu-tdx` and `gcp-tdx` are `dcap-tdx`, too.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "azure-tdx" => Some(Self::AzureTdx),
            "dcap-tdx" | "qemu-tdx" | "gcp-tdx" => Some(Self::DcapTdx),
            _ => None,
        }
    }

    /// The name in the HTTP headers of the aTLS proxies, which differs for `dcap-tdx`.
    pub const fn variant_name(self) -> &'static str {
        match self {
            Self::AzureTdx => "azure-tdx",
            Self::DcapTdx => "qemu-tdx",
        }
    }

    /// Whether reference values of this type are about machines of this kind.
    pub fn matches(self, reference: AttestationType) -> bool {
        Self::from_name(reference.as_str()) == Some(self)
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
