//! The machine under the TD: its model and its patch level.
//!
//! I/O: none.

use super::case::Case;
use super::pki::PkiFault;
use super::tcb::TcbFault;

/// Model and security versions of a machine.
///
/// The values are those of a machine that Azure runs, so that the JSON around them is realistic.
#[derive(Clone, Debug)]
pub(super) struct Platform {
    /// Family, model, stepping, platform type, custom SKU.
    pub(super) fmspc: [u8; 6],
    /// The provisioning enclave.
    pub(super) pce_id: [u8; 2],
    /// The 16 SGX components: the "SGX half" of a TCB level.
    pub(super) cpu_svn: [u8; 16],
    /// The provisioning enclave's own version.
    pub(super) pce_svn: u16,
    /// The TDX components, the "TDX half": module's version, module's major number, the rest.
    pub(super) tee_tcb_svn: [u8; 16],
}

/// An SGX half that is enough for the first TCB level of [`tcb`](super::tcb).
pub(super) const SGX_COMPONENTS: [u8; 16] = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];

/// A TDX half that is enough for the first TCB level.
pub(super) const TDX_COMPONENTS: [u8; 16] = [7, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Intel's number for the processors of Azure's v6 sizes.
pub(super) const AZURE_V6: [u8; 6] = [0x90, 0xc0, 0x6f, 0, 0, 0];

impl Platform {
    /// The machine as it is.
    pub(super) fn of(case: Case) -> Self {
        let mut platform = Self {
            fmspc: [0x00, 0xa0, 0x6f, 0x05, 0x00, 0x00],
            pce_id: [0, 0],
            cpu_svn: SGX_COMPONENTS,
            pce_svn: 13,
            tee_tcb_svn: TDX_COMPONENTS,
        };
        let both = case.is(TcbFault::BothHalvesOutOfDate);
        if both || case.is(TcbFault::SgxHalfOutOfDate) {
            platform.cpu_svn[0] = 2;
        }
        if both || case.is(TcbFault::TdxHalfOutOfDate) {
            platform.tee_tcb_svn[2] = 2;
        }
        match case {
            _ if case.is(TcbFault::PceOutOfDate) => platform.pce_svn = 11,
            _ if case.is(TcbFault::ModuleOutOfDate) => platform.tee_tcb_svn[0] = 5,
            _ if case.is(TcbFault::ModuleTooOld) => platform.tee_tcb_svn[0] = 1,
            _ if case.is(TcbFault::ModuleUnknown) => platform.tee_tcb_svn[1] = 9,
            _ if case.is(TcbFault::NoLevel) => platform.cpu_svn[1] = 0,
            _ if case.is(TcbFault::AzureV6SeamLoader) => {
                platform.fmspc = AZURE_V6;
                platform.cpu_svn[7] = 3;
            }
            _ => {}
        }
        platform
    }

    /// The machine as its PCK certificate describes it.
    pub(super) fn certified(case: Case) -> Self {
        let mut platform = Self::of(case);
        if case.is(PkiFault::PckOfOtherFmspc) {
            platform.fmspc[0] ^= 0x10;
        }
        if case.is(PkiFault::PckOfOtherPceId) {
            platform.pce_id[0] ^= 1;
        }
        platform
    }
}
