//! The quoting enclave: its identity as Intel signs it, and its report in each quote.
//!
//! Form: Intel PCS API, `/tdx/certification/v4/qe/identity`; SGX `REPORT` without the MAC, Intel
//! SDM volume 3D, 38.15.
//!
//! I/O: none.

use serde::Serialize;

use super::bytes::Writer;
use super::case::{Case, written};
use super::fault::faults;
use super::hash::sha256;
use super::platform::Platform;
use super::tcb::{EVALUATION, EnclaveTcb, Level, validity};
use super::text::hex_upper;

faults! {
    /// What is wrong with the quoting enclave or its identity.
    Qe(QeFault) {
        /// The QE identity should have been replaced.
        IdentityExpired,
        /// The QE identity is from the future.
        IdentityNotYetIssued,
        /// The QE identity has been changed after it was signed.
        IdentityAltered,
        /// The QE identity is signed by another key.
        IdentityOfOtherKey,
        /// The QE identity is that of SGX.
        IdentityOfSgx,
        /// The QE identity has version 1.
        IdentityVersion1,
        /// The QE identity is no JSON, and signed as such.
        IdentityNotJson,
        /// The enclave is signed by somebody else than the identity says.
        OtherSigner,
        /// The enclave is another product than the identity says.
        OtherProduct,
        /// The enclave has a `MISCSELECT` bit that the identity excludes.
        OtherMiscSelect,
        /// The enclave is being debugged.
        Debug,
        /// The enclave is below the newest level: out of date.
        OutOfDate,
        /// The enclave is below all levels.
        TooOld,
        /// The enclave's level is revoked.
        Revoked,
        /// The QE report has been changed after it was signed.
        ReportAltered,
        /// Another key than the PCK's has signed the QE report.
        ReportOfOtherKey,
        /// The QE report vouches for another attestation key.
        OtherAttestationKey,
        /// The QE report's authentication data are not those that were hashed.
        OtherAuthData,
        /// The upper half of the QE report's data is not zero.
        ReportDataUpperHalf,
    }
}

/// Signer of Intel's quoting enclaves.
const SIGNER: [u8; 32] = [
    0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
    0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
];

/// Product number of the enclave that quotes TDs.
const PRODUCT: u16 = 2;

/// `INIT`, `MODE64BIT`, `PROVISION_KEY`: bits 0, 2, 4 of the attributes.
const ATTRIBUTES: u8 = 0x15;

/// Bit 1 of the attributes.
const DEBUG: u8 = 0x02;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: &'static str,
    miscselect_mask: &'static str,
    attributes: &'static str,
    attributes_mask: &'static str,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<Level<EnclaveTcb>>,
}

/// The QE identity, as the text that is signed.
pub(super) fn identity(case: Case) -> String {
    if case.is(QeFault::IdentityNotJson) {
        return "no JSON".to_owned();
    }
    let validity = validity(
        case,
        case.is(QeFault::IdentityExpired),
        case.is(QeFault::IdentityNotYetIssued),
    );
    let status = case.either(QeFault::Revoked, "Revoked", "UpToDate");
    let identity = Identity {
        id: case.either(QeFault::IdentityOfSgx, "QE", "TD_QE"),
        version: case.either(QeFault::IdentityVersion1, 1, 2),
        issue_date: written(validity.from),
        next_update: written(validity.until),
        tcb_evaluation_data_number: EVALUATION,
        miscselect: "00000000",
        miscselect_mask: "FFFFFFFF",
        attributes: "11000000000000000000000000000000",
        attributes_mask: "FBFFFFFFFFFFFFFF0000000000000000",
        mrsigner: hex_upper(&SIGNER),
        isvprodid: PRODUCT,
        tcb_levels: vec![
            Level::new(EnclaveTcb { isvsvn: 4 }, status, &[]),
            Level::new(EnclaveTcb { isvsvn: 2 }, "OutOfDate", &[]),
        ],
    };
    serde_json::to_string(&identity).expect("write a QE identity")
}

/// What the enclave adds to the hash of its attestation key; verifiers insist on 32 bytes.
pub(super) fn auth_data(case: Case) -> [u8; 32] {
    sha256(&[b"authentication data", &case.seed.to_be_bytes()[..]].concat())
}

/// The enclave's report, which vouches for `attestation_key` (x and y).
pub(super) fn report(case: Case, attestation_key: &[u8]) -> Vec<u8> {
    let mut vouched = [attestation_key, &auth_data(case)].concat();
    if case.is(QeFault::OtherAttestationKey) {
        vouched[0] ^= 1;
    }
    let upper = case.either(QeFault::ReportDataUpperHalf, [1; 32], [0; 32]);
    let mut signer = SIGNER;
    if case.is(QeFault::OtherSigner) {
        signer[0] ^= 1;
    }
    let version: u16 = match case {
        _ if case.is(QeFault::OutOfDate) => 3,
        _ if case.is(QeFault::TooOld) => 1,
        _ => 6,
    };
    let mut report = Writer::little_endian();
    report.bytes(&Platform::of(case).cpu_svn);
    report.u32(case.either(QeFault::OtherMiscSelect, 1, 0));
    report.zeros(28);
    report.bytes(&[case.either(QeFault::Debug, ATTRIBUTES | DEBUG, ATTRIBUTES)]);
    report.zeros(7);
    // The features the enclave may use: x87, SSE, AVX, AVX-512.
    report.bytes(&[0xe7]);
    report.zeros(7);
    report.bytes(&sha256(b"quoting enclave"));
    report.zeros(32);
    report.bytes(&signer);
    report.zeros(96);
    report.u16(case.either(QeFault::OtherProduct, 1, PRODUCT));
    report.u16(version);
    report.zeros(60);
    report.bytes(&sha256(&vouched));
    report.bytes(&upper);
    report.finish()
}
