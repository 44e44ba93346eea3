//! How up to date a platform is, by Intel's word, and what of it is not.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use dcap_qvl::tcb_info::SvnComponent;
use dcap_qvl::{QeIdentity, SvnShortfall, TcbInfo};

use crate::td_quote::TdBody;

/// Intel's judgement of a platform, all parts taken together. `Revoked` is missing: such a
/// platform is never verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TcbStatus {
    /// No known weakness.
    UpToDate,
    /// Software in the TD must mitigate a weakness.
    SwHardeningNeeded,
    /// The platform's settings must be changed.
    ConfigurationNeeded,
    /// Both of the former.
    ConfigurationAndSwHardeningNeeded,
    /// Updates with mended weaknesses are missing.
    OutOfDate,
    /// Updates are missing, and settings must be changed.
    OutOfDateConfigurationNeeded,
    /// The TD started under an outdated TDX module, which has been updated since.
    TdRelaunchAdvised,
    /// The same, and settings must be changed.
    TdRelaunchAdvisedConfigurationNeeded,
}

/// How up to date a platform is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbReport {
    /// Intel's judgement.
    pub status: TcbStatus,
    /// Intel's advisories about what is missing, such as `INTEL-SA-01036`.
    pub advisory_ids: BTreeSet<String>,
    /// What is missing to the level that is up to date, whatever the status.
    pub shortfalls: Vec<Shortfall>,
    /// The platform's kind.
    pub fmspc: [u8; 6],
    /// `tcbEvaluationDataNumber`: how recent Intel's judgement is; the lower of its two halves.
    pub evaluation_data_number: u32,
    /// Whether the judgement is only so good because Azure's v6 override was used.
    pub azure_v6_override: bool,
}

impl TcbReport {
    /// Which parts of the platform are short of what is up to date.
    pub fn short_parts(&self) -> BTreeSet<TcbPart> {
        self.shortfalls.iter().map(|short| short.part).collect()
    }
}

/// A part of a platform that is updated on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcbPart {
    /// Microcode, BIOS, TDX loader: the host's firmware.
    SgxTcb,
    /// The TDX module.
    TdxModule,
    /// The quoting enclave.
    QuotingEnclave,
}

impl fmt::Display for TcbPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SgxTcb => "SGX TCB",
            Self::TdxModule => "TDX module",
            Self::QuotingEnclave => "quoting enclave",
        })
    }
}

/// A version that is lower than that of the level that is up to date.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shortfall {
    /// What would have to be updated.
    pub part: TcbPart,
    /// Which version of it, such as `component 7`.
    pub component: String,
    /// What the platform has.
    pub actual: u16,
    /// What is up to date.
    pub expected: u16,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            component,
            actual,
            expected,
        } = self;
        write!(f, "{part} {component} is {actual}, expected {expected}")
    }
}

/// Shortfalls, one after the other.
pub(super) fn list(shortfalls: &[Shortfall]) -> String {
    let texts: Vec<String> = shortfalls.iter().map(Shortfall::to_string).collect();
    if texts.is_empty() {
        return "none is up to date".to_owned();
    }
    texts.join("; ")
}

/// What the certificate of a platform says of its versions.
pub(super) struct PlatformSvns {
    pub(super) cpu: [u8; 16],
    pub(super) pce: u16,
}

/// Finds what is missing to the nearest level of TCB info that is up to date.
pub(super) fn shortfalls(
    tcb_info: &TcbInfo,
    platform: &PlatformSvns,
    body: &TdBody,
) -> Vec<Shortfall> {
    let now = body.tdx_15.as_ref().map(|tdx_15| tdx_15.tee_tcb_svn2);
    let mut found = BTreeSet::new();
    for svns in std::iter::once(body.tee_tcb_svn).chain(now) {
        let nearest = tcb_info
            .tcb_levels
            .iter()
            .filter(|level| level.tcb_status == dcap_qvl::TcbStatus::UpToDate)
            .filter_map(|level| {
                level
                    .shortfalls(&platform.cpu, platform.pce, Some(&svns))
                    .ok()
            })
            .min_by_key(Vec::len);
        let identity = tcb_info.tdx_module_identity(&svns).ok().flatten();
        let module = identity
            .into_iter()
            .flat_map(|identity| &identity.tcb_levels)
            .filter(|level| level.tcb_status == dcap_qvl::TcbStatus::UpToDate)
            .map(|level| level.shortfall(&svns))
            .min_by_key(|short| short.map_or(0, |short| short.needs))
            .flatten();
        found.extend(
            nearest
                .unwrap_or_default()
                .into_iter()
                .chain(module)
                .map(named),
        );
    }
    found.into_iter().collect()
}

/// Finds what the quoting enclave is missing.
pub(super) fn qe_shortfall(identity: &QeIdentity, isv_svn: u16) -> Option<Shortfall> {
    let up_to_date = identity
        .tcb_levels
        .iter()
        .filter(|level| level.tcb_status == dcap_qvl::TcbStatus::UpToDate)
        .map(|level| level.tcb.isvsvn)
        .min()?;
    (isv_svn < up_to_date).then(|| Shortfall {
        part: TcbPart::QuotingEnclave,
        component: "ISVSVN".to_owned(),
        actual: isv_svn,
        expected: up_to_date,
    })
}

fn named(short: SvnShortfall) -> Shortfall {
    let (part, component) = match short.component {
        SvnComponent::Sgx(index) => (TcbPart::SgxTcb, format!("component {index}")),
        SvnComponent::PceSvn => (TcbPart::SgxTcb, "PCESVN".to_owned()),
        SvnComponent::Tdx(index) => (TcbPart::TdxModule, format!("component {index}")),
        SvnComponent::TdxModuleIsvSvn => (TcbPart::TdxModule, "ISVSVN".to_owned()),
    };
    Shortfall {
        part,
        component,
        actual: short.have,
        expected: short.needs,
    }
}

impl TcbStatus {
    /// All of them, from the best on.
    pub const ALL: [Self; 8] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::TdRelaunchAdvised,
        Self::TdRelaunchAdvisedConfigurationNeeded,
    ];

    /// `None` for `Revoked`.
    pub(super) fn from_dcap(status: dcap_qvl::TcbStatus) -> Option<Self> {
        use dcap_qvl::TcbStatus as Dcap;
        Some(match status {
            Dcap::UpToDate => Self::UpToDate,
            Dcap::SWHardeningNeeded => Self::SwHardeningNeeded,
            Dcap::ConfigurationNeeded => Self::ConfigurationNeeded,
            Dcap::ConfigurationAndSWHardeningNeeded => Self::ConfigurationAndSwHardeningNeeded,
            Dcap::OutOfDate => Self::OutOfDate,
            Dcap::OutOfDateConfigurationNeeded => Self::OutOfDateConfigurationNeeded,
            Dcap::TDRelaunchAdvised => Self::TdRelaunchAdvised,
            Dcap::TDRelaunchAdvisedConfigurationNeeded => {
                Self::TdRelaunchAdvisedConfigurationNeeded
            }
            Dcap::Revoked => return None,
        })
    }

    /// Intel's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TdRelaunchAdvised => "TDRelaunchAdvised",
            Self::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        }
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is not a TCB status that a policy can allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a TCB status such as OutOfDate, got {actual:?}")]
pub struct UnknownTcbStatus {
    /// The text.
    pub actual: String,
}

impl FromStr for TcbStatus {
    type Err = UnknownTcbStatus;

    fn from_str(text: &str) -> Result<Self, UnknownTcbStatus> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownTcbStatus {
            actual: text.to_owned(),
        })
    }
}
