//! Everybody gets the certificate, and who asks for proof gets that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::azure::imds::Fault;
use testkit::azure::vtpm::HCL_REPORT;
use testkit::needed::programs;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::machine::Machine;
use crate::node::{Node, curl};

/// The certificate as services on the machine get it.
async fn certificate(node: &Node) -> String {
    let pem = curl(&[&format!("http://{}/cert", node.local)])
        .await
        .unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    pem
}

/// Builds a program of the workspace that is not this package's, once; tests of one package do not.
async fn built(package: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_cvm-agent"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--offline", "--package", package]);
    assert!(build.status().await.unwrap().success(), "build {package}");
    own.with_file_name(package)
}

async fn cvmctl() -> &'static Path {
    static CVMCTL: OnceCell<PathBuf> = OnceCell::const_new();
    CVMCTL.get_or_init(|| built("cvmctl")).await
}

/// Reference values of the machine's registers 4, 9 and 11, one of them changed if it is named.
fn reference(machine: &Machine, changed: Option<u8>) -> String {
    let pcrs = machine.tpm.client().read_pcrs().unwrap();
    let registers = [4, 9, 11].map(|register| {
        let value = match changed == Some(register) {
            true => "ab".repeat(32),
            false => pcrs.value(register).to_string(),
        };
        (register.to_string(), json!({ "expected": value }))
    });
    json!([{
        "measurement_id": "image-under-test",
        "attestation_type": "azure-tdx",
        "measurements": serde_json::Map::from_iter(registers),
    }])
    .to_string()
}

/// `cvmctl get` of the node's certificate, trusting the test roots.
struct Get<'a> {
    machine: &'a Machine,
    files: TempDir,
}

impl<'a> Get<'a> {
    fn new(machine: &'a Machine) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        fs::write(path("root.der"), machine.tee.root()).unwrap();
        fs::write(path("ak-root.der"), machine.ak_root()).unwrap();
        fs::write(path("collateral.json"), machine.tee.collateral().to_json()).unwrap();
        Self { machine, files }
    }

    async fn run(&self, node: &Node, changed: Option<u8>, more: &[&str]) -> Output {
        let file = |name: &str| self.files.path().join(name);
        fs::write(file("expected.json"), reference(self.machine, changed)).unwrap();
        let mut command = Command::new(cvmctl().await);
        command.args(["get", &node.url("/cert"), "--json", "--danger-trust-root"]);
        command.arg(file("root.der")).arg("--danger-trust-ak-root");
        command.arg(file("ak-root.der")).arg("--collateral");
        command
            .arg(file("collateral.json"))
            .arg("--expected-measurements");
        command.arg(file("expected.json")).args(more);
        command.output().await.unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn go_curl_and_cvmctl_fetch_the_certificate() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let node = machine.node("").await;
    node.logged("this machine attests kind=azure-tdx").await;
    let pem = certificate(&node).await;

    for version in ["--http1.1", "--http2"] {
        let got = curl(&["--insecure", version, &node.url("/cert")]).await;
        assert_eq!(got.unwrap(), pem);
    }

    if programs(&["go"]) {
        let root = machine.root();
        let interop = interop().await;
        let mut go = Command::new(interop);
        go.args(["get", "-url", &node.url("/cert"), "-root"]);
        let output = go.arg(root.path()).output().await.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let got: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(got["body"], pem);
        let pcrs = machine.tpm.client().read_pcrs().unwrap();
        for register in 0..24 {
            let value = pcrs.value(register).to_string();
            assert_eq!(got["registers"][register.to_string()], value);
        }
    }

    let get = Get::new(&machine);
    for protocol in ["atls", "ratls"] {
        let output = get.run(&node, None, &["--protocol", protocol]).await;
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{protocol}: {stdout}{stderr}"
        );
        assert!(stdout.contains("image-under-test"), "{stdout}");
        let body = pem.replace('\n', "\\n");
        assert!(stdout.contains(&body), "{stdout}");
    }
    node.stop().await;
}

/// The Go program beside the attestation library.
async fn interop() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-of-the-agent");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attestation/interop");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".");
    build.current_dir(source).env("GOFLAGS", "");
    build.env(
        "GOCACHE",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-build"),
    );
    build
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    assert!(build.status().await.unwrap().success());
    program
}

#[tokio::test]
async fn another_image_is_not_trusted() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let node = machine.node("").await;
    let get = Get::new(&machine);
    for register in [4, 9, 11] {
        let output = get.run(&node, Some(register), &[]).await;
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains(&"ab".repeat(32)), "{shown}");
        assert!(!text(&output.stdout).contains("BEGIN CERTIFICATE"));
    }
}

/// What an attesting client is told when the machine cannot attest: nothing. The log says why, and
/// clients that do not ask for proof are served.
async fn cannot_attest(machine: &Machine, reason: &str) {
    let node = machine.node("").await;
    let output = Get::new(machine).run(&node, None, &[]).await;
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{shown}");
    node.logged(reason).await;
    let pem = certificate(&node).await;
    let got = curl(&["--insecure", &node.url("/cert")]).await;
    assert_eq!(got.unwrap(), pem);
}

#[tokio::test]
async fn a_metadata_service_that_lies_is_found_out() {
    let Some(machine) = Machine::start() else {
        return;
    };
    for (fault, reason) in FAULTS {
        machine.imds.fail_always(Some(fault));
        cannot_attest(&machine, reason).await;
    }
    machine.imds.fail_always(None);
    let node = machine.node("").await;
    let output = Get::new(&machine).run(&node, None, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_vtpm_that_lacks_something_is_named() {
    let Some(machine) = Machine::start() else {
        return;
    };
    let mut other = machine.vtpm.report([0; 64]);
    other.truncate(1000);
    machine.vtpm.put(HCL_REPORT, &other).unwrap();
    cannot_attest(
        &machine,
        "the HCL report in the vTPM (NV 0x01400001) is malformed",
    )
    .await;
    machine.vtpm.remove(HCL_REPORT).unwrap();
    cannot_attest(&machine, "0x01400001").await;
}

#[tokio::test]
async fn a_metadata_service_that_was_down_is_asked_again() {
    let Some(machine) = Machine::start() else {
        return;
    };
    machine.imds.fail_next([Fault::Status(500), Fault::Close]);
    let node = machine.node("").await;
    let output = Get::new(&machine).run(&node, None, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// What the metadata service does, and what the log has to say of it.
const FAULTS: [(Fault, &str); 6] = [
    (Fault::Status(404), "404"),
    (Fault::Garbage, "metadata service"),
    (Fault::NotBase64, "metadata service"),
    (Fault::NoQuote, "metadata service"),
    (Fault::OtherReport, "metadata service"),
    (Fault::Oversized, "metadata service"),
];

#[tokio::test]
async fn a_machine_without_a_tee_serves_whoever_asks_for_no_proof() {
    if !programs(&["curl"]) {
        return;
    }
    let nowhere = tempfile::tempdir().unwrap();
    let root = nowhere.path().to_str().unwrap();
    let node = Node::start(&["--root", root], "").await;
    node.logged("this machine cannot attest").await;
    let pem = certificate(&node).await;
    let got = curl(&["--insecure", &node.url("/cert")]).await;
    assert_eq!(got.unwrap(), pem);
    node.stop().await;
}
