//! A node on the loopback, whose evidence is a test TEE's, and `cvmctl` as a user runs it.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test; not every test uses all"
)]

mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use attestation::tls::Http;
use attestation::{AttestError, Attester, Attesting, Binding, Evidence, EvidenceKind};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::tee::Tee;

pub(crate) use server::{Speaks, identity, serve};

/// What a run said and returned.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("one JSON document on standard output")
    }

    /// Checks the exit code, and that this was said.
    pub(crate) fn says(&self, code: i32, text: &str) -> &Self {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "{self:#?}");
        assert!(said.contains(text), "expected {text:?} in {said}");
        self
    }
}

/// Trusts the test TEE's roots.
pub(crate) const ROOTS: [&str; 4] = [
    "--danger-trust-root",
    "root.der",
    "--danger-trust-ak-root",
    "ak-root.der",
];

/// A directory with all that trust in a TEE takes, in which cvmctl runs.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    /// Of a machine: its root, its collateral, and `expected.json`, which it runs.
    pub(crate) fn of(tee: &Tee) -> Self {
        let place = Self(TempDir::new().unwrap());
        place.write("root.der", tee.root());
        place.write("ak-root.der", tee.ak_certificates(&tee.ak()).root);
        place.write("collateral.json", tee.collateral().to_json());
        place.write("expected.json", azure_values(tee, "node-1.vhd").to_string());
        let system = rcgen::generate_simple_self_signed(["system.example".to_owned()]);
        place.write("system.pem", system.unwrap().cert.pem());
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_cvmctl"))
            .args(arguments)
            .env_remove("OVERRIDE_AZUREV6_TCBINFO")
            // A machine that runs tests may have no roots at all.
            .env("SSL_CERT_FILE", "system.pem")
            .envs(variables.iter().copied())
            .current_dir(self.0.path())
            .output()
            .expect("run cvmctl");
        Run {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `cvmctl get`, trusting the test root and its collateral.
    pub(crate) fn get(&self, node: &Node, arguments: &[&str]) -> Run {
        let url = node.url();
        let own = ["--collateral", "collateral.json"];
        self.run(&[&["get", &url][..], &ROOTS, &own, arguments].concat())
    }
}

/// The published form of what a machine runs.
pub(crate) fn azure_values(tee: &Tee, id: &str) -> Value {
    let value = |pcr: u8| json!({"expected": hex(&tee.pcrs[&pcr])});
    json!([{
        "measurement_id": id,
        "attestation_type": "azure-tdx",
        "measurements": {"4": value(4), "9": value(9), "11": value(11)},
    }])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A node that listens until the test ends.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Node {
    pub(crate) fn url(&self) -> String {
        format!("https://{}/cert", self.address)
    }

    /// How many requests it was sent.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Makes documents as a test says.
#[derive(Clone)]
pub(crate) struct Script {
    kind: EvidenceKind,
    document: Documents,
}

type Documents = Arc<dyn Fn(&Binding) -> Vec<u8> + Send + Sync>;

impl Script {
    pub(crate) fn new(
        kind: EvidenceKind,
        document: impl Fn(&Binding) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let document = Arc::new(document);
        Self { kind, document }
    }

    /// The documents of a machine.
    pub(crate) fn of(tee: &Tee, kind: EvidenceKind) -> Self {
        let tee = tee.clone();
        Self::new(kind, move |binding| tee.document(kind, binding))
    }
}

impl Attester for Script {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move {
            let document = (self.document)(binding);
            let evidence = match binding.user_data() {
                Some(_) => Evidence::parse_atls(self.kind, &document),
                None => Evidence::parse_ratls(self.kind, &document),
            };
            evidence.map_err(AttestError::of)
        })
    }
}

/// A machine as it is now.
pub(crate) fn tee() -> Tee {
    Tee::new(1, SystemTime::now())
}

/// A node of Azure that answers with a certificate.
pub(crate) fn azure_node(tee: &Tee) -> Node {
    attested(Script::of(tee, EvidenceKind::AzureTdx))
}

pub(crate) fn attested(script: Script) -> Node {
    serve(Speaks::Attested {
        script: Some(script),
        http: vec![Http::Http1],
        status: 200,
        body: CERTIFICATE.into(),
    })
}

/// What nodes answer: a certificate for node.example and 192.0.2.1, until 2036.
pub(crate) const CERTIFICATE: &str = include_str!("node.pem");

/// Its fingerprint, as openssl says it.
pub(crate) const FINGERPRINT: &str = include_str!("node.sha256");

/// A text with what differs from run to run taken out.
pub(crate) fn normalised(text: &str, node: &Node) -> String {
    let text = text.replace(&node.address.to_string(), "ADDRESS");
    let mut words = Vec::new();
    for line in text.lines() {
        let shown = |word: &str| {
            let bare = word.trim_end_matches([',', '.', ':']);
            let is_time = bare.len() == 20 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T';
            match is_time {
                true => word.replace(bare, "TIME"),
                false => word.to_owned(),
            }
        };
        let line: Vec<String> = line.split(' ').map(shown).collect();
        words.push(line.join(" "));
    }
    words.join("\n") + "\n"
}

/// Changes one bit of a file, or changes it back.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
