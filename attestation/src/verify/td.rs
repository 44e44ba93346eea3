//! What a TD must be like, whatever it measures: nobody may look into it or act upon it, and it
//! was not given anything that nobody appraises.
//!
//! MRCONFIGID, MROWNER and MROWNERCONFIG are chosen by whoever starts the TD. Existing verifiers
//! leave them to a policy that nobody has for Azure; here they must be zero there, too, which they
//! are on all machines of Azure that were looked at, v5 and v6 sizes.
//!
//! I/O: none.

use measurements::Sha384Digest;

use crate::td_quote::TdBody;

/// Bits of `TDATTRIBUTES`; Intel "TDX Module ABI", "ATTRIBUTES".
mod attribute {
    /// The group of bits 0 to 7: the host may look into the TD.
    pub(super) const UNDER_DEBUG: u64 = 0xff;
    /// The host cannot make the TD run into exceptions by taking its pages.
    pub(super) const SEPT_VE_DISABLE: u64 = 1 << 28;
    /// Supervisor protection keys.
    pub(super) const PKS: u64 = 1 << 30;
    /// Performance counters.
    pub(super) const PERFMON: u64 = 1 << 63;
}

/// `XFAM` bits that are always set, and those that may be; Intel "TDX Module ABI", "XFAM".
const XFAM_ALWAYS: u64 = 0x3;
const XFAM_POSSIBLE: u64 = 0x0006_dbe7;

/// What differs between kinds of evidence.
pub(super) struct Rules {
    /// Attributes that may be set beside the one that must be.
    optional_attributes: u64,
    /// Whether Azure's v6 override may be asked for.
    pub(super) allow_azure_v6_override: bool,
}

impl Rules {
    /// Azure's own paravisor is the TD; it may use what it likes that gives no access.
    pub(super) const AZURE: Self = Self {
        optional_attributes: attribute::PKS | attribute::PERFMON,
        allow_azure_v6_override: true,
    };

    /// Exactly what existing verifiers accept.
    pub(super) const DCAP: Self = Self {
        optional_attributes: 0,
        allow_azure_v6_override: false,
    };
}

/// Why a TD cannot be trusted, whatever it measures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TdError {
    /// The host may look into the TD.
    #[error("the TD is under debug: TDATTRIBUTES are {attributes:#018x}")]
    Debug {
        /// `TDATTRIBUTES`.
        attributes: u64,
    },
    /// An attribute is set that gives access or is not known, or a needed one is not.
    #[error(
        "TDATTRIBUTES are {actual:#018x}, expected {required:#018x} set and at most {allowed:#018x}"
    )]
    Attributes {
        /// What must be set.
        required: u64,
        /// What may be set.
        allowed: u64,
        /// `TDATTRIBUTES`.
        actual: u64,
    },
    /// CPU features that cannot be.
    #[error("XFAM is {actual:#018x}, expected {XFAM_ALWAYS:#x} set and at most {XFAM_POSSIBLE:#x}")]
    Xfam {
        /// `XFAM`.
        actual: u64,
    },
    /// A field that the host sets says something that nobody expects.
    #[error("{field} is {actual}, expected zero")]
    HostField {
        /// Which field.
        field: &'static str,
        /// What it is.
        actual: Sha384Digest,
    },
    /// Other TDs may act upon this one.
    #[error("MRSERVICETD is {actual}, expected zero")]
    ServiceTd {
        /// What it is.
        actual: Sha384Digest,
    },
}

/// Checks a body. It is still a claim: what it admits is refused, what it denies is verified later.
pub(super) fn check(body: &TdBody, rules: &Rules) -> Result<(), TdError> {
    let actual = body.td_attributes;
    if actual & attribute::UNDER_DEBUG != 0 {
        return Err(TdError::Debug { attributes: actual });
    }
    let required = attribute::SEPT_VE_DISABLE;
    let allowed = required | rules.optional_attributes;
    if actual & required != required || actual & !allowed != 0 {
        return Err(TdError::Attributes {
            required,
            allowed,
            actual,
        });
    }
    let actual = body.xfam;
    if actual & XFAM_ALWAYS != XFAM_ALWAYS || actual & !XFAM_POSSIBLE != 0 {
        return Err(TdError::Xfam { actual });
    }
    let host_fields = [
        ("MRCONFIGID", body.mr_config_id),
        ("MROWNER", body.mr_owner),
        ("MROWNERCONFIG", body.mr_owner_config),
    ];
    for (field, actual) in host_fields {
        if actual != Sha384Digest::ZERO {
            return Err(TdError::HostField { field, actual });
        }
    }
    match &body.tdx_15 {
        Some(tdx_15) if tdx_15.mr_service_td != Sha384Digest::ZERO => Err(TdError::ServiceTd {
            actual: tdx_15.mr_service_td,
        }),
        _ => Ok(()),
    }
}
