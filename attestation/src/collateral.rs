//! Intel's collateral: what Intel says of its platforms, signed, and valid for about a month.
//!
//! It need not come from a trusted place: every part is signed by a chain that ends at Intel's
//! root, and the verifier checks that. Parsed here is the one JSON form in which existing tools
//! keep collateral, so that what one has saved another can use.
//!
//! I/O: none.

mod genuine;
mod pck;
mod window;

use std::fmt;

use dcap_qvl::QuoteCollateralV3;

pub use self::genuine::NotGenuine;
use self::pck::PckChain;
pub(crate) use self::pck::check_signer;
pub use self::window::{Dated, Window};
use crate::roots::TrustRoots;
use crate::td_quote::{TdQuote, TdQuoteError};

/// Largest collateral that is parsed; real ones have 20 kB, the CRLs growing.
pub(crate) const MAX_COLLATERAL: usize = 4 << 20;

/// Signed statements about one kind of platform: TCB info, QE identity, and two CRLs, each with
/// the certificates that vouch for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collateral(QuoteCollateralV3);

/// The parts of collateral, as a PCS sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollateralParts {
    /// Chain of the TCB info's signer, PEM, leaf first.
    pub tcb_info_issuer_chain: String,
    /// TCB info, the JSON text that is signed.
    pub tcb_info: String,
    /// Its signature, r ‖ s.
    pub tcb_info_signature: Vec<u8>,
    /// Chain of the QE identity's signer, PEM, leaf first.
    pub qe_identity_issuer_chain: String,
    /// QE identity, the JSON text that is signed.
    pub qe_identity: String,
    /// Its signature, r ‖ s.
    pub qe_identity_signature: Vec<u8>,
    /// Chain of the PCK CRL's signer, PEM, leaf first.
    pub pck_crl_issuer_chain: String,
    /// CRL of PCK certificates, DER.
    pub pck_crl: Vec<u8>,
    /// CRL of the root's, DER.
    pub root_ca_crl: Vec<u8>,
}

/// Why bytes are not collateral, or collateral is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralError {
    /// It is larger than any collateral.
    #[error("the collateral has {actual} bytes, expected at most {MAX_COLLATERAL}")]
    TooLarge {
        /// What it has.
        actual: usize,
    },
    /// It is not JSON of the expected form.
    #[error("the collateral is malformed")]
    Malformed(#[source] serde_json::Error),
    /// A part has no date, or one that is not understood.
    #[error("the {part} of the collateral has no valid dates")]
    Dates {
        /// Which part.
        part: Dated,
    },
    /// A part says nothing about now.
    #[error("the {part} of the collateral is valid from {} to {}, not at {now}", .window.from, .window.until)]
    NotNow {
        /// Which part.
        part: Dated,
        /// When it is valid.
        window: Window,
        /// When it was needed, seconds since 1970.
        now: u64,
    },
}

impl Collateral {
    /// Parses collateral as it is saved: a JSON object whose binary fields are hex.
    ///
    /// # Errors
    ///
    /// [`CollateralError::TooLarge`] or [`CollateralError::Malformed`].
    pub fn parse(json: &[u8]) -> Result<Self, CollateralError> {
        let actual = json.len();
        if actual > MAX_COLLATERAL {
            return Err(CollateralError::TooLarge { actual });
        }
        let parsed: QuoteCollateralV3 =
            serde_json::from_slice(json).map_err(CollateralError::Malformed)?;
        Ok(Self(QuoteCollateralV3 {
            // The quote has its PCK certificates itself; others must not take their place.
            pck_certificate_chain: None,
            ..parsed
        }))
    }

    /// Puts collateral together.
    pub fn new(parts: CollateralParts) -> Self {
        Self(QuoteCollateralV3 {
            pck_crl_issuer_chain: parts.pck_crl_issuer_chain,
            root_ca_crl: parts.root_ca_crl,
            pck_crl: parts.pck_crl,
            tcb_info_issuer_chain: parts.tcb_info_issuer_chain,
            tcb_info: parts.tcb_info,
            tcb_info_signature: parts.tcb_info_signature,
            qe_identity_issuer_chain: parts.qe_identity_issuer_chain,
            qe_identity: parts.qe_identity,
            qe_identity_signature: parts.qe_identity_signature,
            pck_certificate_chain: None,
        })
    }

    /// The form that [`parse`](Self::parse) reads.
    pub fn to_json(&self) -> Vec<u8> {
        // A structure of texts, written to memory, has nothing to fail with.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// When all of its parts are valid. Certificates are left out; they outlive the parts.
    ///
    /// # Errors
    ///
    /// [`CollateralError::Dates`] if a part has none.
    pub fn window(&self) -> Result<Window, CollateralError> {
        let windows = self.windows()?;
        let from = windows.iter().map(|(_, window)| window.from).max();
        let until = windows.iter().map(|(_, window)| window.until).min();
        Ok(Window {
            from: from.unwrap_or(u64::MAX),
            until: until.unwrap_or(0),
        })
    }

    /// Refuses collateral of which a part is not valid at `now`.
    pub(crate) fn check_window(&self, now: u64) -> Result<(), CollateralError> {
        for (part, window) in self.windows()? {
            if !(window.from..=window.until).contains(&now) {
                return Err(CollateralError::NotNow { part, window, now });
            }
        }
        Ok(())
    }

    /// When each of its parts is valid.
    pub(crate) fn windows(&self) -> Result<[(Dated, Window); 4], CollateralError> {
        let Self(parts) = self;
        let dated = |part, window: Option<Window>| match window {
            Some(window) => Ok((part, window)),
            None => Err(CollateralError::Dates { part }),
        };
        Ok([
            dated(Dated::TcbInfo, window::of_json(&parts.tcb_info))?,
            dated(Dated::QeIdentity, window::of_json(&parts.qe_identity))?,
            dated(Dated::PckCrl, window::of_crl(&parts.pck_crl))?,
            dated(Dated::RootCrl, window::of_crl(&parts.root_ca_crl))?,
        ])
    }

    pub(crate) fn as_dcap(&self) -> &QuoteCollateralV3 {
        &self.0
    }
}

/// What collateral is about: a kind of platform, and which of Intel's CAs certified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlatformKey {
    /// `FMSPC`: the platform's family, model and package.
    pub fmspc: [u8; 6],
    /// Which CA issued the PCK certificate.
    pub ca: PckCa,
}

/// Intel's CAs of PCK certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckCa {
    /// For platforms of several packages; all that have TDX.
    Platform,
    /// For platforms of one package.
    Processor,
}

/// Why a quote does not say for which platform it needs collateral.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformKeyError {
    /// The quote is malformed.
    #[error("the TD quote is malformed")]
    Quote(#[from] TdQuoteError),
    /// The quote's PCK certificate is malformed.
    #[error("the TD quote's PCK certificate is malformed: {0}")]
    Pck(String),
    /// A certificate is somebody else's than Intel's PCK, its CA or its signer.
    #[error("a certificate is of {actual:?}, expected {expected:?}")]
    Name {
        /// The common name that it must have.
        expected: String,
        /// That which it has.
        actual: String,
    },
    /// The quote's PCK certificate does not chain to a trusted root.
    #[error("the TD quote's PCK certificate does not chain to a trusted root")]
    Chain(#[source] webpki::Error),
}

impl PlatformKey {
    /// Finds out what collateral the verification of a TD quote takes. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`PlatformKeyError`] if the quote or its PCK certificate are malformed.
    pub fn of(td_quote: &[u8]) -> Result<Self, PlatformKeyError> {
        Self::of_pck_chain(TdQuote::parse(td_quote)?.pck_chain)
    }

    /// The same, for platforms only that a root has certified, as of `now`. Revocation is left to
    /// the verifier.
    ///
    /// # Errors
    ///
    /// [`PlatformKeyError`], also if the quote's certificates do not chain to the root.
    pub fn certified(
        td_quote: &[u8],
        roots: &TrustRoots,
        now: u64,
    ) -> Result<Self, PlatformKeyError> {
        let chain = PckChain::parse(TdQuote::parse(td_quote)?.pck_chain)?;
        chain.verify(roots, now)?;
        Self::of_chain(&chain)
    }

    /// The platform's kind, in hex.
    pub fn fmspc_hex(&self) -> String {
        self.fmspc
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect()
    }

    pub(crate) fn of_pck_chain(pem: &[u8]) -> Result<Self, PlatformKeyError> {
        Self::of_chain(&PckChain::parse(pem)?)
    }

    fn of_chain(chain: &PckChain) -> Result<Self, PlatformKeyError> {
        let extension = dcap_qvl::intel::parse_pck_extension(chain.leaf())
            .map_err(|error| PlatformKeyError::Pck(format!("{error:#}")))?;
        Ok(Self {
            fmspc: extension.fmspc,
            ca: chain.ca,
        })
    }
}

impl fmt::Display for PlatformKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.fmspc_hex(), self.ca.name())
    }
}

impl PckCa {
    /// The name in requests to a PCS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Processor => "processor",
        }
    }
}
