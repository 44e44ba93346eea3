//! A TD and its report: what the TDX module says locally, for the quoting enclave alone.
//!
//! Layout: Intel TDX Module ABI specification, `TDREPORT_STRUCT` (1024 bytes): 256 of
//! `REPORTMACSTRUCT`, 239 of `TEE_TCB_INFO`, 17 reserved, 512 of `TDINFO_STRUCT`.
//!
//! I/O: none.

use ring::hmac;

use super::bytes::Writer;
use super::case::Case;
use super::fault::faults;
use super::hash::{sha256, sha384};
use super::platform::Platform;

faults! {
    /// What is wrong with the TD that is attested.
    Td(TdFault) {
        /// The host can read the TD's memory.
        Debug,
        /// The host may count the TD's events.
        Profiled,
        /// `SEPT_VE_DISABLE` is not set.
        WithoutSeptVeDisable,
        /// A reserved attribute is set.
        ReservedAttribute,
        /// The TD may be moved to another machine.
        Migratable,
        /// A reserved bit of XFAM is set.
        ReservedXfam,
        /// XFAM lacks x87 and SSE, which every TD has.
        XfamWithoutFixedBits,
        /// The SEAM module has attributes.
        SeamAttributes,
        /// The SEAM module is signed by somebody else than Intel.
        OtherSeamSigner,
        /// `MRCONFIGID` is not zero.
        ConfigId,
        /// `MROWNER` is not zero.
        Owner,
        /// `MROWNERCONFIG` is not zero.
        OwnerConfig,
        /// The report data's lower half is another.
        OtherReportData,
        /// The report data's upper half is not zero.
        ReportDataUpperHalf,
    }
}

/// Size of a TD report.
pub const TD_REPORT_SIZE: usize = 1024;

/// `SEPT_VE_DISABLE`, bit 28: what Azure and others set, and all that they set.
const ATTRIBUTES: u64 = 1 << 28;

/// As on Azure: x87, SSE, AVX, AVX-512, PKU, AMX; no supervisor state but CET.
const XFAM: u64 = 0x0006_18e7;

/// What is measured of a TD, and what it is.
#[derive(Clone, Debug)]
pub struct Td {
    /// `ATTRIBUTES` as a number; on the wire little endian.
    pub attributes: u64,
    /// `XFAM` as a number.
    pub xfam: u64,
    /// What the host loaded before the start.
    pub mrtd: [u8; 48],
    /// Set by the host; zero on clouds.
    pub mr_config_id: [u8; 48],
    /// Set by the host; zero on clouds.
    pub mr_owner: [u8; 48],
    /// Set by the host; zero on clouds.
    pub mr_owner_config: [u8; 48],
    /// RTMR 0 to 3.
    pub rtmrs: [[u8; 48]; 4],
}

impl Td {
    /// A TD with arbitrary measurements.
    pub(super) fn of(case: Case) -> Self {
        let flag = |fault, bit: u64| case.either(fault, 1 << bit, 0);
        let mark = |fault| case.either(fault, [0x11; 48], [0; 48]);
        let always = case.either(TdFault::WithoutSeptVeDisable, 0, ATTRIBUTES);
        Self {
            attributes: always
                | flag(TdFault::Debug, 0)
                | flag(TdFault::Profiled, 4)
                | flag(TdFault::ReservedAttribute, 37)
                | flag(TdFault::Migratable, 29),
            xfam: (XFAM | flag(TdFault::ReservedXfam, 63))
                & !case.either(TdFault::XfamWithoutFixedBits, 3, 0),
            mrtd: sha384(b"firmware"),
            mr_config_id: mark(TdFault::ConfigId),
            mr_owner: mark(TdFault::Owner),
            mr_owner_config: mark(TdFault::OwnerConfig),
            rtmrs: [
                sha384(b"firmware's configuration"),
                sha384(b"kernel"),
                sha384(b"command line"),
                [0; 48],
            ],
        }
    }
}

/// A TD report, authenticated with a secret of the machine it was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport(Vec<u8>);

/// Why a machine does not quote a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TdReportError {
    /// A report has exactly 1024 bytes.
    #[error("TD report has {actual} bytes, expected {TD_REPORT_SIZE}")]
    Size {
        /// Bytes given.
        actual: usize,
    },

    /// Another machine made it, or nobody did.
    #[error("TD report is not of this machine")]
    Mac,

    /// A part does not belong to the rest.
    #[error("TD report's {part} does not match its hash")]
    Hash {
        /// Name of the part's structure.
        part: &'static str,
    },
}

impl TdReport {
    /// The report of this TD on this machine.
    pub(super) fn new(case: Case, td: &Td, mut report_data: [u8; 64]) -> Self {
        if case.is(TdFault::OtherReportData) {
            report_data[0] ^= 1;
        }
        if case.is(TdFault::ReportDataUpperHalf) {
            report_data[63] ^= 1;
        }
        let (tcb_info, td_info) = (tcb_info(case), td_info(td));
        let mut report = Writer::little_endian();
        // Type TDX, subtype 0, version 0.
        report.bytes(&[0x81, 0, 0, 0]);
        report.zeros(12);
        report.bytes(&Platform::of(case).cpu_svn);
        report.bytes(&sha384(&tcb_info));
        report.bytes(&sha384(&td_info));
        report.bytes(&report_data);
        report.zeros(32);
        let mut bytes = report.finish();
        let mac = hmac::sign(&secret(case), &bytes);
        bytes.extend(mac.as_ref());
        bytes.extend(tcb_info);
        bytes.resize(bytes.len() + 17, 0);
        bytes.extend(td_info);
        Self(bytes)
    }

    /// Takes a report that came back from a guest, if this machine made it.
    pub(super) fn check(case: Case, bytes: &[u8]) -> Result<Self, TdReportError> {
        if bytes.len() != TD_REPORT_SIZE {
            return Err(TdReportError::Size {
                actual: bytes.len(),
            });
        }
        hmac::verify(&secret(case), &bytes[..224], &bytes[224..256])
            .map_err(|_| TdReportError::Mac)?;
        for (part, hash, content) in [
            ("TEE_TCB_INFO", &bytes[32..80], &bytes[256..495]),
            ("TDINFO_STRUCT", &bytes[80..128], &bytes[512..]),
        ] {
            if sha384(content)[..] != *hash {
                return Err(TdReportError::Hash { part });
            }
        }
        Ok(Self(bytes.to_vec()))
    }

    /// A report of a real machine, whose parts belong together as far as anybody can tell.
    #[cfg(test)]
    pub(super) fn captured(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), TD_REPORT_SIZE);
        assert_eq!(sha384(&bytes[256..495])[..], bytes[32..80]);
        assert_eq!(sha384(&bytes[512..])[..], bytes[80..128]);
        Self(bytes.to_vec())
    }

    /// All 1024 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the guest asked to be included.
    pub fn report_data(&self) -> &[u8] {
        &self.0[128..192]
    }

    /// The same facts in the order of a quote's body (`sgx_report2_body_t`, 584 bytes).
    pub(super) fn quote_body(&self) -> Vec<u8> {
        let (tcb_info, td_info) = (&self.0[256..495], &self.0[512..]);
        [
            // TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, SEAM ATTRIBUTES.
            &tcb_info[8..128],
            // ATTRIBUTES, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR 0-3.
            &td_info[..400],
            self.report_data(),
        ]
        .concat()
    }

    /// What TDX 1.5 adds to the body: TEE_TCB_SVN2, MRSERVICETD.
    pub(super) fn quote_body_15(&self) -> Vec<u8> {
        let (tcb_info, td_info) = (&self.0[256..495], &self.0[512..]);
        [&self.quote_body(), &tcb_info[128..144], &td_info[400..448]].concat()
    }
}

/// `TEE_TCB_INFO`: the machine and its TDX module.
fn tcb_info(case: Case) -> Vec<u8> {
    let tee_tcb_svn = Platform::of(case).tee_tcb_svn;
    let mut info = Writer::little_endian();
    // Which fields are valid; as real machines say.
    info.u64(0x3_01ff);
    info.bytes(&tee_tcb_svn);
    info.bytes(&sha384(b"TDX module"));
    info.bytes(&case.either(TdFault::OtherSeamSigner, [0x22; 48], [0; 48]));
    info.u64(case.either(TdFault::SeamAttributes, 1, 0));
    info.bytes(&tee_tcb_svn);
    info.zeros(95);
    info.finish()
}

/// `TDINFO_STRUCT`: the TD.
fn td_info(td: &Td) -> Vec<u8> {
    let mut info = Writer::little_endian();
    info.u64(td.attributes);
    info.u64(td.xfam);
    for register in [
        &td.mrtd,
        &td.mr_config_id,
        &td.mr_owner,
        &td.mr_owner_config,
    ] {
        info.bytes(register);
    }
    info.bytes(td.rtmrs.as_flattened());
    // No service TD, and reserved.
    info.zeros(48 + 64);
    info.finish()
}

/// The key that a CPU authenticates its reports with.
fn secret(case: Case) -> hmac::Key {
    let secret = sha256(&[b"CPU secret", &case.seed.to_be_bytes()[..]].concat());
    hmac::Key::new(hmac::HMAC_SHA256, &secret)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tee::Tee;

    fn tee(seed: u64) -> Tee {
        Tee::new(
            seed,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        )
    }

    #[test]
    fn only_whole_reports_of_this_machine_are_quoted() {
        let tee = tee(1);
        let report = tee.td_report([7; 64]);
        let bytes = report.as_bytes();
        assert_eq!(tee.quote_bytes(bytes), Ok(tee.quote(&report)));

        let size = TdReportError::Size { actual: 1023 };
        assert_eq!(tee.quote_bytes(&bytes[1..]), Err(size));
        let other = self::tee(2).quote_bytes(bytes);
        assert_eq!(other, Err(TdReportError::Mac));
        for (position, part) in [(300, "TEE_TCB_INFO"), (1000, "TDINFO_STRUCT")] {
            let mut altered = bytes.to_vec();
            altered[position] ^= 1;
            assert_eq!(tee.quote_bytes(&altered), Err(TdReportError::Hash { part }));
        }
        let mut altered = bytes.to_vec();
        altered[130] ^= 1;
        assert_eq!(tee.quote_bytes(&altered), Err(TdReportError::Mac));
    }
}
