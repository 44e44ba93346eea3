//! Quotes made by a software TPM (swtpm) through tpm2-tools: what a TPM really returns.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test runs tools and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use attestation::tpm_quote::{AkError, AkPublic, ParseError, QuoteError, verify};
use tempfile::TempDir;

const NONCE: &[u8] = b"nonce";
const RESTRICTED: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";

/// A new TPM in a directory of its own, reached through a unix socket.
struct SoftwareTpm {
    swtpm: Child,
    directory: TempDir,
}

impl SoftwareTpm {
    /// `None` if the tools are not on this machine, which in CI is a failure.
    fn start() -> Option<Self> {
        if !testkit::needed::programs(&["swtpm", "tpm2"]) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let swtpm = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", "dir=."])
            .args([
                "--server",
                "type=unixio,path=tpm",
                "--ctrl",
                "type=unixio,path=tpm.ctrl",
            ])
            .args(["--flags", "not-need-init,startup-clear"])
            .current_dir(&directory)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tpm = Self { swtpm, directory };
        for _ in 0..500 {
            if ["tpm", "tpm.ctrl"]
                .iter()
                .all(|name| tpm.directory.path().join(name).exists())
            {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        Some(tpm)
    }

    /// Runs `tpm2 arguments…` in the TPM's directory and frees what it left in the TPM.
    fn run(&self, arguments: &str) {
        for arguments in [arguments, "flushcontext --transient-object"] {
            let output = Command::new("tpm2")
                .args(arguments.split(' '))
                .env("TPM2TOOLS_TCTI", "swtpm:path=tpm")
                .current_dir(&self.directory)
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "tpm2 {arguments}: {error}");
        }
    }

    fn make_key(&self, attributes: &str) -> Result<AkPublic, AkError> {
        let key = "createprimary -C o -G rsa2048:rsassa-sha256:null -c ak";
        self.run(&format!("{key} -a {attributes}"));
        self.run("readpublic -c ak -f tss -o public");
        // A TPM2B: the structure's size first.
        AkPublic::parse(self.read("public").get(2..).unwrap())
    }

    fn quote(&self, selection: &str) {
        let nonce: String = NONCE.iter().map(|byte| format!("{byte:02x}")).collect();
        let files = "-m quote -s signature -F values -o pcrs";
        self.run(&format!(
            "quote -c ak -g sha256 -l {selection} -q {nonce} {files}"
        ));
    }

    /// Whether `tpm2_checkquote` accepts the last quote, with these contents of its three files.
    fn checkquote(&self, selection: &str, files: [&[u8]; 3]) -> bool {
        let names = ["check.quote", "check.signature", "check.pcrs"];
        for (name, contents) in names.iter().zip(files) {
            std::fs::write(self.directory.path().join(name), contents).unwrap();
        }
        let nonce: String = NONCE.iter().map(|byte| format!("{byte:02x}")).collect();
        let [quote, signature, pcrs] = names;
        let arguments = format!(
            "checkquote -u ak.pem -g sha256 -m {quote} -s {signature} -f {pcrs} -F values -l {selection} -q {nonce}"
        );
        Command::new("tpm2")
            .args(arguments.split(' '))
            .current_dir(&self.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// The values that the last quote is about, which were of these registers.
    fn pcrs(&self, registers: impl IntoIterator<Item = u8>) -> BTreeMap<u8, [u8; 32]> {
        let bytes = self.read("pcrs");
        let (values, rest) = bytes.as_chunks::<32>();
        assert!(rest.is_empty());
        registers.into_iter().zip(values.iter().copied()).collect()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.swtpm.kill();
        let _ = self.swtpm.wait();
    }
}

#[test]
fn a_fresh_quote_proves_its_registers() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let ak = tpm.make_key(RESTRICTED).unwrap();
    tpm.run(&format!("pcrextend 9:sha256={}", "a5".repeat(32)));
    for (selection, registers) in [
        ("sha256:4,9,11", vec![4, 9, 11]),
        ("sha256:all", (0..24).collect()),
    ] {
        tpm.quote(selection);
        let pcrs = tpm.pcrs(registers);
        let (quote, signature) = (tpm.read("quote"), tpm.read("signature"));
        let verified = verify(&quote, &signature, &ak, &pcrs, NONCE).unwrap();
        assert_eq!(verified.pcrs(), &pcrs);
        assert_eq!(verified.pcr(4), Some(&[0; 32]));
        assert_ne!(verified.pcr(9), Some(&[0; 32]));
    }
}

#[test]
fn values_from_before_an_extend_are_refused() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let ak = tpm.make_key(RESTRICTED).unwrap();
    tpm.quote("sha256:9");
    let before = tpm.pcrs([9]);
    tpm.run(&format!("pcrextend 9:sha256={}", "a5".repeat(32)));
    tpm.quote("sha256:9");
    let result = verify(
        &tpm.read("quote"),
        &tpm.read("signature"),
        &ak,
        &before,
        NONCE,
    );
    assert!(
        matches!(result, Err(QuoteError::PcrDigest { .. })),
        "{result:?}"
    );
}

#[test]
fn a_quote_of_two_banks_or_another_bank_is_refused() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let ak = tpm.make_key(RESTRICTED).unwrap();
    let pcrs = BTreeMap::from([(9, [0; 32])]);
    for (selection, error) in [
        ("sha1:9+sha256:9", QuoteError::Selections { actual: 2 }),
        ("sha384:9", QuoteError::Bank { actual: 0x000c }),
    ] {
        tpm.quote(selection);
        let result = verify(
            &tpm.read("quote"),
            &tpm.read("signature"),
            &ak,
            &pcrs,
            NONCE,
        );
        assert_eq!(result, Err(error));
    }
}

#[test]
fn another_statement_of_the_same_key_is_no_quote() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let ak = tpm.make_key(RESTRICTED).unwrap();
    tpm.run("certify -c ak -C ak -g sha256 -o quote -s signature");
    let pcrs = BTreeMap::from([(9, [0; 32])]);
    let result = verify(
        &tpm.read("quote"),
        &tpm.read("signature"),
        &ak,
        &pcrs,
        NONCE,
    );
    let kind = ParseError::Value {
        field: "type",
        expected: 0x8018,
        actual: 0x8017,
    };
    assert_eq!(result, Err(QuoteError::MalformedQuote(kind)));
}

#[test]
fn a_key_that_signs_anything_is_no_attestation_key() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let unrestricted = RESTRICTED.replace("|restricted", "");
    let result = tpm.make_key(&unrestricted);
    assert!(
        matches!(result, Err(AkError::Attributes { .. })),
        "{result:?}"
    );
}

#[test]
fn tpm2_checkquote_and_we_agree() {
    let Some(tpm) = SoftwareTpm::start() else {
        return;
    };
    let ak = tpm.make_key(RESTRICTED).unwrap();
    tpm.run("readpublic -c ak -f pem -o ak.pem");
    let (selection, registers) = ("sha256:4,9,11", [4, 9, 11]);
    tpm.quote(selection);
    let files = ["quote", "signature", "pcrs"].map(|name| tpm.read(name));
    let we_accept = |files: &[Vec<u8>; 3]| {
        let [quote, signature, pcrs] = files;
        let (values, _) = pcrs.as_chunks::<32>();
        let pcrs = registers.into_iter().zip(values.iter().copied()).collect();
        verify(quote, signature, &ak, &pcrs, NONCE).is_ok()
    };
    let they_accept =
        |files: &[Vec<u8>; 3]| tpm.checkquote(selection, files.each_ref().map(Vec::as_slice));
    assert!(we_accept(&files));
    assert!(they_accept(&files));
    for file in 0..files.len() {
        let length = files[file].len();
        for position in (0..length).step_by(length / 12) {
            let mut changed = files.clone();
            changed[file][position] ^= 1 << (position % 8);
            let place = format!("byte {position} of file {file}");
            assert_eq!(we_accept(&changed), they_accept(&changed), "{place}");
            assert!(!we_accept(&changed), "{place}");
        }
    }
}
