//! Azure's HCL report: what the paravisor leaves in the vTPM to bind its AK to the TD.
//!
//! The TD report inside vouches for the runtime data after it by their SHA-256.
//!
//! I/O: none.

use serde::Serialize;

use super::ak::{Ak, AkPublic};
use super::bytes::Writer;
use super::case::Case;
use super::fault::faults;
use super::hash::sha256;
use super::td::TdReport;
use super::text::{base64_url_unpadded, hex_upper};

faults! {
    /// What is wrong with the HCL report.
    Hcl(HclFault) {
        /// It does not begin with `HCLA`.
        OtherSignature,
        /// The header's version is 3.
        Version3,
        /// The request type is not that of a TEE's report.
        OtherRequestType,
        /// The runtime data's version is 2.
        RuntimeVersion2,
        /// The report is said to be of SEV-SNP.
        ReportOfSnp,
        /// The runtime data are said to be hashed with SHA-384.
        HashOfSha384,
        /// The runtime data have been changed since they were hashed.
        RuntimeDataAltered,
        /// The runtime data are no JSON, and hashed as such.
        RuntimeDataNotJson,
        /// The runtime data are empty, and hashed as such.
        RuntimeDataEmpty,
        /// The runtime data are said to be longer than what there is.
        RuntimeDataTooLong,
        /// The runtime data are a megabyte.
        Oversized,
        /// The report ends within the TD report.
        Truncated,
        /// The runtime data name another AK.
        OtherAk,
        /// The runtime data have no AK.
        NoAk,
        /// The AK stands under another `kid`.
        AkUnderOtherName,
        /// Two keys have the AK's `kid`; the second one is another's.
        TwoAks,
        /// The AK is said to be an elliptic curve's.
        AkOfOtherType,
        /// The AK's exponent is 3.
        AkOfExponent3,
        /// The AK's modulus is no base64url.
        AkNotBase64,
        /// The `user-data` are other than what was asked for.
        OtherUserData,
    }
}

/// Size of the NV index on Azure; the report is padded to it.
pub const NV_SIZE: usize = 2600;

/// Bytes before the runtime data.
const PREFIX_SIZE: usize = 1236;

/// What the runtime data say beside the AK.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The AK, which the paravisor made.
    pub ak: AkPublic,
    /// The endorsement key, if the report shall have it.
    pub ek: Option<AkPublic>,
    /// `vmUniqueId`.
    pub vm_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RuntimeData {
    keys: Vec<Jwk>,
    vm_configuration: VmConfiguration,
    user_data: String,
}

#[derive(Clone, Serialize)]
struct Jwk {
    kid: &'static str,
    key_ops: [&'static str; 1],
    kty: &'static str,
    e: &'static str,
    n: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VmConfiguration {
    console_enabled: bool,
    root_cert_thumbprint: String,
    secure_boot: bool,
    tpm_enabled: bool,
    tpm_persisted: bool,
    #[serde(rename = "vmUniqueId")]
    vm_unique_id: String,
}

/// The runtime data of this machine.
pub(super) fn runtime_data(case: Case, machine: &Machine, mut user_data: [u8; 64]) -> Vec<u8> {
    if case.is(HclFault::RuntimeDataEmpty) {
        return Vec::new();
    }
    if case.is(HclFault::RuntimeDataNotJson) {
        return b"no JSON".to_vec();
    }
    if case.is(HclFault::OtherUserData) {
        user_data[0] ^= 1;
    }
    let configuration = VmConfiguration {
        console_enabled: true,
        root_cert_thumbprint: String::new(),
        secure_boot: false,
        tpm_enabled: true,
        tpm_persisted: false,
        vm_unique_id: machine.vm_id.clone(),
    };
    let data = RuntimeData {
        keys: keys(case, machine),
        vm_configuration: configuration,
        user_data: hex_upper(&user_data),
    };
    let mut json = serde_json::to_vec(&data).expect("write runtime data");
    if case.is(HclFault::Oversized) {
        // JSON still: white space.
        json.resize(1 << 20, b' ');
    }
    json
}

fn keys(case: Case, machine: &Machine) -> Vec<Jwk> {
    let other = jwk("HCLAkPub", "sign", &Ak::other().public());
    let mut ak = match case.is(HclFault::OtherAk) {
        true => other.clone(),
        false => jwk("HCLAkPub", "sign", &machine.ak),
    };
    match case {
        _ if case.is(HclFault::AkUnderOtherName) => ak.kid = "HCLAkPub2",
        _ if case.is(HclFault::AkOfOtherType) => ak.kty = "EC",
        // 3 in base64url.
        _ if case.is(HclFault::AkOfExponent3) => ak.e = "Aw",
        _ if case.is(HclFault::AkNotBase64) => ak.n.replace_range(..1, "!"),
        _ => {}
    }
    let ek = machine.ek.as_ref().map(|ek| jwk("HCLEkPub", "encrypt", ek));
    (!case.is(HclFault::NoAk))
        .then_some(ak)
        .into_iter()
        .chain(case.is(HclFault::TwoAks).then_some(other))
        .chain(ek)
        .collect()
}

fn jwk(kid: &'static str, operation: &'static str, key: &AkPublic) -> Jwk {
    Jwk {
        kid,
        key_ops: [operation],
        kty: "RSA",
        e: "AQAB",
        n: base64_url_unpadded(key.modulus()),
    }
}

/// The report data that vouch for runtime data.
pub(super) fn report_data(runtime_data: &[u8]) -> [u8; 64] {
    let mut report_data = [0; 64];
    report_data[..32].copy_from_slice(&sha256(runtime_data));
    report_data
}

/// Runtime data as they arrive, after they were hashed.
pub(super) fn in_transit(case: Case, mut runtime_data: Vec<u8>) -> Vec<u8> {
    if case.is(HclFault::RuntimeDataAltered) {
        let text = String::from_utf8(runtime_data).expect("JSON");
        runtime_data = text
            .replace("\"secure-boot\":false", "\"secure-boot\":true ")
            .into_bytes();
    }
    runtime_data
}

/// The HCL report, not padded.
pub(super) fn report(case: Case, td_report: &TdReport, runtime_data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(runtime_data.len()).expect("runtime data of some kilobytes");
    let mut report = Writer::little_endian();
    report.bytes(case.either(HclFault::OtherSignature, b"HCLB", b"HCLA"));
    report.u32(case.either(HclFault::Version3, 3, 2));
    report.u32(size + PREFIX_SIZE as u32);
    // 2: a TEE's report.
    report.u32(case.either(HclFault::OtherRequestType, 1, 2));
    // Status, reserved.
    report.zeros(16);
    report.bytes(td_report.as_bytes());
    // The field is as long as SEV-SNP's report.
    report.zeros(160);
    // From here on: a header of 20 bytes and the runtime data.
    report.u32(size + 20);
    report.u32(case.either(HclFault::RuntimeVersion2, 2, 1));
    // 4: TDX, 2: SEV-SNP.
    report.u32(case.either(HclFault::ReportOfSnp, 2, 4));
    // 1: SHA-256, 2: SHA-384.
    report.u32(case.either(HclFault::HashOfSha384, 2, 1));
    report.u32(case.either(HclFault::RuntimeDataTooLong, size + 100_000, size));
    report.bytes(runtime_data);
    let mut report = report.finish();
    if case.is(HclFault::Truncated) {
        report.truncate(1000);
    }
    report
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use base64::Engine;
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use time::OffsetDateTime;

    use super::*;

    fn case() -> Case {
        let now: SystemTime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        Case {
            seed: 1,
            now: OffsetDateTime::from(now),
            fault: None,
        }
    }

    /// A captured file; `None` if the vectors are not on this machine, which fails in CI.
    fn vector(name: &str) -> Option<Vec<u8>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/vectors/azure-tdx")
            .join(name);
        if !path.is_file() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is missing",
                path.display()
            );
            eprintln!("skipped: {} is missing", path.display());
            return None;
        }
        Some(std::fs::read(path).unwrap())
    }

    /// The block of base64url under a name in the captured evidence.
    fn block(yaml: &str, name: &str) -> Vec<u8> {
        let (_, rest) = yaml.split_once(&format!("{name}: |-\n")).unwrap();
        let text: String = rest
            .lines()
            .take_while(|line| line.starts_with(' '))
            .map(str::trim)
            .collect();
        URL_SAFE.decode(text).unwrap()
    }

    /// The runtime data of a captured report.
    fn runtime_data_of(report: &[u8]) -> &[u8] {
        let json = &report[PREFIX_SIZE..];
        let end = json.iter().rposition(|byte| *byte == b'}').unwrap();
        &json[..=end]
    }

    fn modulus(json: &serde_json::Value, key: usize) -> AkPublic {
        let text = json["keys"][key]["n"].as_str().unwrap();
        AkPublic::new(&URL_SAFE_NO_PAD.decode(text).unwrap())
    }

    #[test]
    fn captured_report_is_written_again_byte_by_byte() {
        let Some(captured) = vector("hcl-report-tdx.bin") else {
            return;
        };
        let runtime_data = runtime_data_of(&captured);
        let td_report = TdReport::captured(&captured[32..1056]);
        assert_eq!(td_report.report_data(), super::report_data(runtime_data));
        let mut written = report(case(), &td_report, runtime_data);
        written.resize(NV_SIZE, 0);
        assert_eq!(written, captured);
    }

    #[test]
    fn captured_runtime_data_are_written_again_but_for_what_differs() {
        let Some(captured) = vector("hcl-report-tdx.bin") else {
            return;
        };
        let captured = runtime_data_of(&captured);
        let json: serde_json::Value = serde_json::from_slice(captured).unwrap();
        let machine = Machine {
            ak: modulus(&json, 0),
            ek: Some(modulus(&json, 1)),
            vm_id: json["vm-configuration"]["vmUniqueId"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        let thumbprint = json["vm-configuration"]["root-cert-thumbprint"]
            .as_str()
            .unwrap();
        let expected = String::from_utf8(captured.to_vec())
            .unwrap()
            .replace(thumbprint, "");
        let written = runtime_data(case(), &machine, [0; 64]);
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn captured_quote_has_the_body_that_we_would_make_of_the_report() {
        let name = "azure-tdx-1764662251380464271.yaml";
        let Some(captured) = vector(name) else { return };
        let captured = String::from_utf8(captured).unwrap();
        let quote = block(&captured, "tdx_quote_base64");
        let report = block(&captured, "hcl_report_base64");
        let td_report = TdReport::captured(&report[32..1056]);
        assert_eq!(td_report.quote_body(), quote[48..48 + 584]);
    }
}
