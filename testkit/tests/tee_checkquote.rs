//! Our vTPM quotes, judged by `tpm2_checkquote`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::process::Command;
use std::time::{Duration, SystemTime};

use testkit::child::{find_program, run_tool};
use testkit::tee::tpm_quote::TpmFault;
use testkit::tee::{Tee, TpmQuote};

const NONCE: [u8; 32] = [9; 32];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether there is a `tpm2_checkquote`, the lack of which fails in CI.
fn has_checkquote() -> bool {
    let is_there = find_program("tpm2_checkquote").is_some();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "tpm2_checkquote is missing"
    );
    if !is_there {
        eprintln!("skipped: tpm2_checkquote is missing");
    }
    is_there
}

/// Checks a quote for [`NONCE`] and the values that are claimed.
fn check(tee: &Tee, quote: &TpmQuote) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("ak.pem", tee.ak().to_pem().as_bytes()),
        ("statement", &quote.statement),
        ("signature", &quote.signature),
        ("pcrs", &claims(quote)),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let output = Command::new("tpm2_checkquote")
        .args(["-u", "ak.pem", "-m", "statement", "-s", "signature"])
        .args(["-g", "sha256", "-q", &hex(&NONCE), "-f", "pcrs"])
        .current_dir(&directory)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Claimed values as tpm2-tools save them ("serialized"): the C structures of tss2, little endian:
/// one `TPML_PCR_SELECTION` with room for 16 banks, a count, and `TPML_DIGEST`s with room for 8.
///
/// Its other format, "values", loses every eighth value in version 5.4.
fn claims(quote: &TpmQuote) -> Vec<u8> {
    let mut bitmap = [0_u8; 3];
    for pcr in quote.pcrs.keys() {
        bitmap[usize::from(pcr / 8)] |= 1 << (pcr % 8);
    }
    let mut bytes = 1_u32.to_le_bytes().to_vec();
    bytes.extend(quote.bank.algorithm().to_le_bytes());
    bytes.push(3);
    bytes.extend(bitmap);
    bytes.resize(4 + 16 * 8, 0);
    let values: Vec<&Vec<u8>> = quote.pcrs.values().collect();
    let lists = values.chunks(8);
    bytes.extend(u32::try_from(lists.len()).unwrap().to_le_bytes());
    for list in lists {
        let end = bytes.len() + 4 + 8 * 66;
        bytes.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
        for value in list {
            bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len() + 64 - value.len(), 0);
        }
        bytes.resize(end, 0);
    }
    bytes
}

#[test]
fn a_valid_quote_is_accepted_whatever_the_registers() {
    if !has_checkquote() {
        return;
    }
    let mut tee = Tee::new(1, now());
    assert_eq!(check(&tee, &tee.tpm_quote(&NONCE)), Ok(()));
    tee.pcrs.insert(11, [0x11; 32]);
    assert_eq!(check(&tee, &tee.tpm_quote(&NONCE)), Ok(()));
    tee.pcrs.retain(|pcr, _| [4, 9, 11].contains(pcr));
    assert_eq!(check(&tee, &tee.tpm_quote(&NONCE)), Ok(()));
}

/// What of the output says why.
fn reason(fault: TpmFault, is_5_4: bool) -> Option<&'static str> {
    let signature = "Error validating signed message";
    let nonce = "Error validating nonce";
    let pcrs = "PCR";
    let form = "Unmarshal";
    match fault {
        TpmFault::OtherKey
        | TpmFault::SignatureAltered
        | TpmFault::StatementAltered
        | TpmFault::SignatureOfSha1
        | TpmFault::SignatureTruncated => Some(signature),
        TpmFault::OtherNonce | TpmFault::NoNonce => Some(nonce),
        TpmFault::TwoBanks
        | TpmFault::NoBank
        | TpmFault::NoPcr
        | TpmFault::NotAQuote
        | TpmFault::PcrNotQuoted
        | TpmFault::PcrNotClaimed
        | TpmFault::PcrAltered
        | TpmFault::PcrsSwapped
        | TpmFault::OtherDigest
        | TpmFault::DigestOfSha384 => Some(pcrs),
        TpmFault::Truncated | TpmFault::Oversized => Some(form),
        // Newer versions look at the mark, and try PSS, too.
        TpmFault::NotGenerated => (!is_5_4).then_some(form),
        TpmFault::SignatureOfPss => is_5_4.then_some(signature),
        // Proper quotes of banks that this tool does not mind.
        TpmFault::Sha1Bank | TpmFault::Sha384Bank => None,
        TpmFault::Trailing => None,
    }
}

#[test]
fn each_wrong_quote_is_refused_for_its_reason() {
    if !has_checkquote() {
        return;
    }
    let version = run_tool("tpm2_checkquote", &["--version"]).unwrap();
    let is_5_4 = String::from_utf8_lossy(&version).contains("version=\"5.4");
    for fault in TpmFault::ALL {
        let tee = Tee::with_fault(1, now(), *fault);
        let result = check(&tee, &tee.tpm_quote(&NONCE));
        match (reason(*fault, is_5_4), &result) {
            (Some(reason), Err(error)) if error.contains(reason) => {}
            (None, Ok(())) => {}
            (reason, result) => panic!("{fault:?}: expected {reason:?}, got {result:?}"),
        }
    }
}
