//! TCB info: which patch levels of a platform are good enough, signed.
//!
//! Form: Intel PCS API, `/tdx/certification/v4/tcb`, "TCB Info V3" for TDX.
//!
//! I/O: none.

use serde::Serialize;

use super::case::{Case, Validity, written};
use super::fault::faults;
use super::platform::{Platform, SGX_COMPONENTS, TDX_COMPONENTS};
use super::text::hex_upper;

faults! {
    /// What is wrong with the platform's patch level, or with the TCB info that judges it.
    Tcb(TcbFault) {
        /// An SGX component is below the newest level: out of date, with advisories.
        SgxHalfOutOfDate,
        /// A TDX component is below the newest level: out of date, with advisories.
        TdxHalfOutOfDate,
        /// Both halves are below the newest level.
        BothHalvesOutOfDate,
        /// The provisioning enclave is below the newest level.
        PceOutOfDate,
        /// The TDX module is below its newest level: out of date, with its own advisories.
        ModuleOutOfDate,
        /// The TDX module is below all of its levels.
        ModuleTooOld,
        /// The TDX module's major number has no entry.
        ModuleUnknown,
        /// The TDX module's signer is not the entry's.
        ModuleOfOtherSigner,
        /// The platform is below all levels.
        NoLevel,
        /// An Azure v6 machine: its SEAM loader is below all levels; the narrow override is for it.
        AzureV6SeamLoader,
        /// The level's status is `ConfigurationNeeded`.
        ConfigurationNeeded,
        /// The level's status is `SWHardeningNeeded`.
        SwHardeningNeeded,
        /// The level's status is `ConfigurationAndSWHardeningNeeded`.
        ConfigurationAndSwHardeningNeeded,
        /// The level's status is `OutOfDateConfigurationNeeded`.
        OutOfDateConfigurationNeeded,
        /// The level's status is `Revoked`.
        LevelRevoked,
        /// The level's status is a word that Intel does not use.
        UnknownStatus,
        /// The TCB info should have been replaced.
        TcbInfoExpired,
        /// The TCB info is from the future.
        TcbInfoNotYetIssued,
        /// The TCB info has been changed after it was signed.
        TcbInfoAltered,
        /// The TCB info is signed by another key.
        TcbInfoOfOtherKey,
        /// The TCB info is for SGX.
        TcbInfoOfSgx,
        /// The TCB info has version 2.
        TcbInfoVersion2,
        /// The TCB info is for another processor model.
        TcbInfoOfOtherFmspc,
        /// The TCB info says nothing of the TDX module.
        TcbInfoWithoutModule,
        /// The TCB info is no JSON, and signed as such.
        TcbInfoNotJson,
    }
}

/// Advisories of the level that is out of date.
pub const ADVISORIES: [&str; 2] = ["INTEL-SA-01036", "INTEL-SA-01079"];

/// Advisories of the TDX module's level that is out of date.
pub const MODULE_ADVISORIES: [&str; 1] = ["INTEL-SA-01099"];

const NEW: &str = "2026-01-14T00:00:00Z";
const OLD: &str = "2024-03-13T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u8,
    tcb_evaluation_data_number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tdx_module: Option<Module>,
    tdx_module_identities: Vec<ModuleIdentity>,
    tcb_levels: Vec<Level<PlatformTcb>>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    mrsigner: String,
    attributes: &'static str,
    attributes_mask: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModuleIdentity {
    id: &'static str,
    #[serde(flatten)]
    module: Module,
    tcb_levels: Vec<Level<EnclaveTcb>>,
}

/// A level of any kind: what is needed, and what then is said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Level<T> {
    tcb: T,
    tcb_date: &'static str,
    tcb_status: &'static str,
    #[serde(rename = "advisoryIDs", skip_serializing_if = "<[_]>::is_empty")]
    advisory_ids: &'static [&'static str],
}

impl<T> Level<T> {
    /// A level with this status; the date goes with it.
    pub(super) fn new(
        tcb: T,
        tcb_status: &'static str,
        advisory_ids: &'static [&'static str],
    ) -> Self {
        Self {
            tcb,
            tcb_date: if tcb_status == "UpToDate" { NEW } else { OLD },
            tcb_status,
            advisory_ids,
        }
    }
}

#[derive(Serialize)]
struct PlatformTcb {
    sgxtcbcomponents: [Component; 16],
    pcesvn: u16,
    tdxtcbcomponents: [Component; 16],
}

#[derive(Serialize)]
struct Component {
    svn: u8,
}

/// What a level of an enclave or of the TDX module needs.
#[derive(Serialize)]
pub(super) struct EnclaveTcb {
    pub(super) isvsvn: u16,
}

/// The TCB info, as the text that is signed.
pub(super) fn info(case: Case) -> String {
    if case.is(TcbFault::TcbInfoNotJson) {
        return "no JSON".to_owned();
    }
    let platform = Platform::of(case);
    let mut fmspc = platform.fmspc;
    if case.is(TcbFault::TcbInfoOfOtherFmspc) {
        fmspc[5] ^= 1;
    }
    let validity = validity(
        case,
        case.is(TcbFault::TcbInfoExpired),
        case.is(TcbFault::TcbInfoNotYetIssued),
    );
    let module = module(case);
    let info = TcbInfo {
        id: case.either(TcbFault::TcbInfoOfSgx, "SGX", "TDX"),
        version: case.either(TcbFault::TcbInfoVersion2, 2, 3),
        issue_date: written(validity.from),
        next_update: written(validity.until),
        fmspc: hex_upper(&fmspc),
        pce_id: hex_upper(&platform.pce_id),
        tcb_type: 0,
        tcb_evaluation_data_number: EVALUATION,
        tdx_module: (!case.is(TcbFault::TcbInfoWithoutModule)).then(|| module.clone()),
        tdx_module_identities: vec![ModuleIdentity {
            id: "TDX_01",
            module,
            tcb_levels: vec![
                Level::new(EnclaveTcb { isvsvn: 6 }, "UpToDate", &[]),
                Level::new(EnclaveTcb { isvsvn: 4 }, "OutOfDate", &MODULE_ADVISORIES),
            ],
        }],
        tcb_levels: levels(case),
    };
    serde_json::to_string(&info).expect("write TCB info")
}

/// The number of Intel's evaluation that TCB info and QE identity belong to.
pub(super) const EVALUATION: u32 = 20;

/// When a signed JSON counts: 30 days, as Intel's do.
pub(super) fn validity(case: Case, is_expired: bool, is_future: bool) -> Validity {
    match (is_expired, is_future) {
        (true, _) => case.past(),
        (_, true) => case.future(),
        _ => case.around(time::Duration::hours(1), time::Duration::days(30)),
    }
}

/// Two levels: as the platform should be, and one that is old in each half.
fn levels(case: Case) -> Vec<Level<PlatformTcb>> {
    let (mut old_sgx, mut old_tdx) = (SGX_COMPONENTS, TDX_COMPONENTS);
    (old_sgx[0], old_sgx[1]) = (2, 2);
    old_tdx[2] = 2;
    let status = match case {
        _ if case.is(TcbFault::ConfigurationNeeded) => "ConfigurationNeeded",
        _ if case.is(TcbFault::SwHardeningNeeded) => "SWHardeningNeeded",
        _ if case.is(TcbFault::ConfigurationAndSwHardeningNeeded) => {
            "ConfigurationAndSWHardeningNeeded"
        }
        _ if case.is(TcbFault::OutOfDateConfigurationNeeded) => "OutOfDateConfigurationNeeded",
        _ if case.is(TcbFault::LevelRevoked) => "Revoked",
        _ if case.is(TcbFault::UnknownStatus) => "Splendid",
        _ => "UpToDate",
    };
    let advisories: &[&str] = if status == "UpToDate" {
        &[]
    } else {
        &ADVISORIES
    };
    vec![
        Level::new(
            needs(SGX_COMPONENTS, 13, TDX_COMPONENTS),
            status,
            advisories,
        ),
        Level::new(needs(old_sgx, 11, old_tdx), "OutOfDate", &ADVISORIES),
    ]
}

fn needs(sgx: [u8; 16], pcesvn: u16, tdx: [u8; 16]) -> PlatformTcb {
    // The module's version is judged by its identity; Intel's levels have a number here too.
    let tdx = [&[5, 0], &tdx[2..]].concat();
    let mut tdx = tdx.into_iter();
    PlatformTcb {
        sgxtcbcomponents: sgx.map(|svn| Component { svn }),
        pcesvn,
        tdxtcbcomponents: [(); 16].map(|()| Component {
            svn: tdx.next().unwrap_or_default(),
        }),
    }
}

fn module(case: Case) -> Module {
    let signer = case.either(TcbFault::ModuleOfOtherSigner, [0xaa; 48], [0; 48]);
    Module {
        mrsigner: hex_upper(&signer),
        attributes: "0000000000000000",
        attributes_mask: "FFFFFFFFFFFFFFFF",
    }
}
