//! `cvmctl proxy`, run as it is: curl on one side, HTTP servers on the other, and machines made of
//! test keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use attestation::tls::limits::Bounds;
use attestation::tls::{
    Acceptor, Connector, Dial, Http, Identity, NameCheck, Nobody, ServerSettings, Timeouts,
};
use attestation::{Appraiser, EvidenceKind};
use attested_http::body::{empty, text};
use attested_http::client::{ClientSettings, Upstream};
use attested_http::server::{Limits, Unencrypted};
use attested_http::{Body, Peer, Server};
use hyper::{HeaderMap, Request, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use testkit::azure::vtpm::Vtpm;
use testkit::tee::Tee;
use tokio::net::TcpListener;

/// A running proxy, and everything that it logs.
struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

fn cvmctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvmctl"));
    command.arg("proxy").args(arguments);
    for name in [
        "LISTEN_ADDR",
        "LISTEN_ADDR_HEALTHCHECK",
        "TARGET_ADDR",
        "SERVER_ATTESTATION_TYPE",
        "TLS_CERTIFICATE_PATH",
        "TLS_PRIVATE_KEY_PATH",
        "CLIENT_MEASUREMENTS",
        "CLIENT_ATTESTATION_TYPE",
        "OVERRIDE_AZUREV6_TCBINFO",
        "LOG_JSON",
        "LOG_DEBUG",
        "LOG_DCAP_QUOTE",
        "DEV_DUMMY_DCAP",
    ] {
        command.env_remove(name);
    }
    command
}

impl Proxy {
    fn start(arguments: &[&str]) -> Self {
        let common = ["--listen-addr=127.0.0.1:0", "--log-json"];
        Self::spawn(cvmctl(&[arguments, &common].concat()))
    }

    /// Waits until it serves.
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("it ended: {said}");
            };
            said.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{said}"));
            log.lock().unwrap().push(line.clone());
            if line["msg"] == "serving" {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
        };
        let noted = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                noted
                    .lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            child,
            address,
            log,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Whether a line has this; lines take a moment.
    fn says(&self, part: &str) -> bool {
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            let log = self.log.lock().unwrap();
            log.iter().any(|line| line.to_string().contains(part))
        })
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("run kill").success());
    }

    fn wait(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < limit, "still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--include", "--max-time", "30"])
        .args(["--noproxy", "*"])
        .args(arguments);
    let run = move || command.output().expect("run curl");
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn asked(arguments: &[&str]) -> String {
    let output = curl(arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().to_lowercase()
}

/// A machine, and files that make a program trust it.
struct Machine {
    tee: Tee,
    kind: EvidenceKind,
    files: TempDir,
}

impl Machine {
    fn new(kind: EvidenceKind) -> Self {
        let tee = Tee::new(3, SystemTime::now());
        let files = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(files.path().join(name), bytes).unwrap();
        write("root.der", tee.root());
        write("ak-root.der", &tee.ak_certificates(&tee.ak()).root);
        write("collateral.json", tee.collateral().to_json().as_bytes());
        let machine = Self { tee, kind, files };
        machine.publish("measurements.json", machine.registers());
        machine
    }

    fn registers(&self) -> BTreeMap<String, String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.kind {
            EvidenceKind::AzureTdx => {
                let pcrs = self.tee.pcrs.iter();
                pcrs.map(|(index, value)| (index.to_string(), hex(value)))
                    .collect()
            }
            EvidenceKind::DcapTdx => {
                let values = std::iter::once(&self.tee.td.mrtd).chain(&self.tee.td.rtmrs);
                let values = values.enumerate();
                values
                    .map(|(index, value)| (index.to_string(), hex(value)))
                    .collect()
            }
        }
    }

    fn header(&self) -> String {
        serde_json::to_string(&self.registers()).unwrap()
    }

    /// Writes a list with one image.
    fn publish(&self, name: &str, registers: BTreeMap<String, String>) {
        let registers = registers.into_iter();
        let registers: BTreeMap<String, Value> = registers
            .map(|(index, value)| (index, serde_json::json!({"expected": value})))
            .collect();
        let list = serde_json::json!([{
            "measurement_id": "published image",
            "attestation_type": self.kind.name(),
            "measurements": registers,
        }]);
        std::fs::write(self.files.path().join(name), list.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    /// The flags that say whom to trust.
    fn trust(&self) -> Vec<String> {
        vec![
            format!("--danger-trust-root={}", self.path("root.der")),
            format!("--danger-trust-ak-root={}", self.path("ak-root.der")),
            format!("--collateral={}", self.path("collateral.json")),
        ]
    }
}

/// Who vouches for names, and a certificate for `localhost`, in files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            files: tempfile::tempdir().unwrap(),
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        authority.write("ca.pem", &authority.issuer.pem());
        authority.write("own.pem", &certificate.pem());
        authority.write("own.key", &key.serialize_pem());
        authority
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }

    fn names(&self) -> NameCheck {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        NameCheck::new(ServerName::try_from("localhost").unwrap(), roots).unwrap()
    }
}

fn self_signed() -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

async fn answer(request: Request<Body>) -> hyper::Response<Body> {
    match request.uri().path() {
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            text(StatusCode::OK, "slow")
        }
        "/echo" => hyper::Response::new(request.into_body()),
        path => text(StatusCode::OK, &format!("answer to {path}")),
    }
}

/// A node that attests, until the runtime ends.
async fn node(machine: &Machine) -> SocketAddr {
    let acceptor = Acceptor::new(ServerSettings {
        identity: self_signed(),
        attester: Some(machine.tee.attester(machine.kind)),
        verifier: None::<Nobody>,
        http: vec![Http::Http2, Http::Http1],
        bounds: Bounds::default(),
        timeouts: Timeouts::SERVER,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = |request, _: Peer<Nobody>| answer(request);
    let server = Server::new(listener, acceptor.unwrap(), service, Limits::default());
    tokio::spawn(async move { drop(server.run(std::future::pending(), None, || {}).await) });
    address
}

/// A plain HTTP server that remembers the headers of requests.
async fn origin() -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<Vec<HeaderMap>>>::default();
    let noted = Arc::clone(&seen);
    let service = move |request: Request<Body>, _: Peer<Nobody>| {
        noted.lock().unwrap().push(request.headers().clone());
        answer(request)
    };
    let server = Server::new(listener, Unencrypted, service, Limits::default());
    tokio::spawn(async move { drop(server.run(std::future::pending(), None, || {}).await) });
    (url, seen)
}

fn strs(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_of_an_attesting_node_over_every_protocol_and_version() {
    for kind in EvidenceKind::ALL {
        let machine = Machine::new(kind);
        let node = node(&machine).await;
        for (protocol, spelled) in [("atls", kind.variant_name()), ("ratls", kind.name())] {
            let mut flags = machine.trust();
            flags.push(format!("--target-addr=https://{node}"));
            flags.push(format!("--protocol={protocol}"));
            flags.push(format!(
                "--server-measurements={}",
                machine.path("measurements.json")
            ));
            let proxy = Proxy::start(&[&["client"][..], &strs(&flags)].concat());
            assert!(proxy.says("DANGER"), "a root that is not Intel's is said");
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                let got = asked(&[version, &proxy.url("/cert")]).await;
                assert!(got.ends_with("answer to /cert\n"), "{got}");
                let kind = format!("x-flashbots-attestation-type: {spelled}\r\n");
                assert!(got.contains(&kind), "{got}");
                let registers = format!("x-flashbots-measurement: {}\r\n", machine.header());
                assert!(got.contains(&registers), "{got}");
                let posted = asked(&[version, "--data", "posted", &proxy.url("/echo")]).await;
                assert!(posted.ends_with("posted"), "{posted}");
            }
            let claims = ["--header", "X-Flashbots-Measurement: {}", &proxy.url("/")];
            let refused = asked(&claims).await;
            assert!(refused.starts_with("http/1.1 403"), "{refused}");
            assert!(refused.ends_with("unexpected measurement header passed\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_image_is_a_502_that_says_why_and_a_line_in_the_log() {
    let machine = Machine::new(EvidenceKind::DcapTdx);
    let node = node(&machine).await;
    let mut registers = machine.registers();
    registers.insert("2".to_owned(), "ab".repeat(48));
    machine.publish("other.json", registers);
    let mut flags = machine.trust();
    flags.push(format!("--target-addr=https://{node}"));
    flags.push(format!(
        "--server-measurements={}",
        machine.path("other.json")
    ));
    let proxy = Proxy::start(&[&["client"][..], &strs(&flags)].concat());
    let got = asked(&[&proxy.url("/cert")]).await;
    assert!(got.starts_with("http/1.1 502"), "{got}");
    let actual = &machine.registers()["2"];
    for part in ["published image", "register 2 is", actual] {
        assert!(got.contains(part), "{part}: {got}");
        assert!(proxy.says(part), "{part}");
    }
    // Without a root that vouches for the machine nothing is believed at all.
    let flags = [
        "client".to_owned(),
        format!("--target-addr=https://{node}"),
        format!(
            "--server-measurements={}",
            machine.path("measurements.json")
        ),
        format!("--collateral={}", machine.path("collateral.json")),
    ];
    let proxy = Proxy::start(&strs(&flags));
    assert!(!proxy.says("DANGER"));
    let got = asked(&[&proxy.url("/cert")]).await;
    assert!(
        got.starts_with("http/1.1 502") && got.contains("server_not_trusted"),
        "{got}"
    );
}

/// A server's proxy as a hub has it: with a name, for clients who have to attest.
fn hub(machine: &Machine, authority: &Authority, target: &str) -> Proxy {
    let mut flags = machine.trust();
    flags.push(format!("--target-addr={target}"));
    flags.push("--server-attestation-type=none".to_owned());
    flags.push(authority.flag("tls-certificate-path", "own.pem"));
    flags.push(authority.flag("tls-private-key-path", "own.key"));
    flags.push(format!(
        "--client-measurements={}",
        machine.path("measurements.json")
    ));
    Proxy::start(&[&["server"][..], &strs(&flags)].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_learns_what_its_clients_have_proven() {
    for kind in EvidenceKind::ALL {
        let (machine, authority) = (Machine::new(kind), Authority::new());
        let (target, seen) = origin().await;
        let hub = hub(&machine, &authority, &target);
        let names = || authority.names();
        for (dial, spelled) in [
            (Dial::<Appraiser>::AtlsNamed(names()), kind.variant_name()),
            (Dial::RatlsNamed(names()), kind.name()),
        ] {
            let attester = Some(machine.tee.attester(kind));
            let http = vec![Http::Http2, Http::Http1];
            let connector = Connector::new(dial, attester, http, Timeouts::CLIENT).unwrap();
            let url = format!("https://localhost:{}", hub.address.port());
            let upstream =
                Upstream::new(url.parse().unwrap(), connector, ClientSettings::default());
            let request = Request::get("/config").body(empty()).unwrap();
            let answer = upstream.send(request).await.unwrap();
            assert_eq!(answer.response.status(), StatusCode::OK);
            let seen = seen.lock().unwrap().pop().unwrap();
            assert_eq!(seen["x-flashbots-attestation-type"], spelled);
            assert_eq!(seen["x-flashbots-measurement"], machine.header());
            assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
            assert_eq!(seen["host"], target.strip_prefix("http://").unwrap());
        }
        // Who proves nothing is nobody.
        let url = format!("https://{}/config", hub.address);
        let output = curl(&["--insecure", &url]).await;
        assert!(!output.status.success());
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_proxies_one_after_the_other() {
    let authority = Authority::new();
    let (target, seen) = origin().await;
    let server = Proxy::start(&[
        "server",
        &format!("--target-addr={target}/base"),
        "--server-attestation-type=none",
        &authority.flag("tls-certificate-path", "own.pem"),
        &authority.flag("tls-private-key-path", "own.key"),
    ]);
    for protocol in ["--protocol=atls", "--protocol=ratls"] {
        let client = Proxy::start(&[
            "client",
            protocol,
            &format!("--target-addr=https://localhost:{}", server.address.port()),
            "--verify-tls",
            &authority.flag("tls-ca-certificate", "ca.pem"),
        ]);
        let got = asked(&[&client.url("/x?y=z")]).await;
        assert!(got.ends_with("answer to /base/x\n"), "{got}");
        assert!(
            !got.contains("x-flashbots"),
            "nobody has proven anything: {got}"
        );
        let seen = seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen["x-forwarded-for"], "127.0.0.1, 127.0.0.1");

        // Another authority does not vouch for it.
        let other = Authority::new();
        let stranger = Proxy::start(&[
            "client",
            protocol,
            &format!("--target-addr=https://localhost:{}", server.address.port()),
            "--verify-tls",
            &other.flag("tls-ca-certificate", "ca.pem"),
        ]);
        let got = asked(&[&stranger.url("/")]).await;
        assert!(
            got.starts_with("http/1.1 502") && got.contains("certificate was refused"),
            "{got}"
        );
    }
    // An ordinary client may come to a server that asks for nothing.
    let url = format!("https://{}/cert", server.address);
    assert!(
        asked(&["--insecure", &url])
            .await
            .ends_with("answer to /base/cert\n")
    );
}

/// A machine of Azure with a vTPM that is a program, as `--tpm` and `--imds` find it.
struct Azure {
    machine: Machine,
    imds: testkit::azure::imds::Imds,
    _tpm: testkit::tpm::Tpm,
}

impl Azure {
    /// `None` if there is no software TPM, which in CI is a failure.
    fn start() -> Option<Self> {
        if !testkit::needed::programs(&["swtpm"]) {
            return None;
        }
        let machine = Machine::new(EvidenceKind::AzureTdx);
        let files = machine.files.path();
        let tpm = testkit::tpm::Tpm::start(&files.join("state"), files).unwrap();
        tpm.power_on().unwrap();
        let vtpm = Vtpm::provision(&tpm, &machine.tee).unwrap();
        vtpm.listen(&files.join("tpmrm0"), |_| None).unwrap();
        // The vTPM has the AK's own certificate only: its issuer stands in for the root.
        let issuers = machine
            .tee
            .ak_certificates(&vtpm.machine().ak)
            .intermediates;
        std::fs::write(files.join("ak-root.der"), &issuers[0]).unwrap();
        // Nothing was measured into it.
        let zero = BTreeMap::from([("4".to_owned(), "00".repeat(32))]);
        machine.publish("measurements.json", zero);
        let imds = testkit::azure::imds::Imds::start(machine.tee.clone(), "builder-0", []);
        Some(Self {
            imds: imds.unwrap(),
            machine,
            _tpm: tpm,
        })
    }

    fn flags(&self, own: &str, others: &str) -> Vec<String> {
        let mut flags = self.machine.trust();
        flags.push(format!("--tpm={}", self.machine.path("tpmrm0")));
        flags.push(format!("--imds={}", self.imds.url()));
        flags.push(format!("--{own}-attestation-type=azure-tdx"));
        let published = self.machine.path("measurements.json");
        flags.push(format!("--{others}-measurements={published}"));
        flags
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_proxies_attest_to_each_other_with_a_vtpm() {
    let Some(azure) = Azure::start() else {
        return;
    };
    let (target, seen) = origin().await;
    let mut flags = azure.flags("server", "client");
    flags.push(format!("--target-addr={target}"));
    let server = Proxy::start(&[&["server"][..], &strs(&flags)].concat());
    for protocol in ["atls", "ratls"] {
        let mut flags = azure.flags("client", "server");
        flags.push(format!("--target-addr=https://{}", server.address));
        flags.push(format!("--protocol={protocol}"));
        let client = Proxy::start(&[&["client"][..], &strs(&flags)].concat());
        let got = asked(&[&client.url("/cert")]).await;
        assert!(got.ends_with("answer to /cert\n"), "{protocol}: {got}");
        assert!(
            got.contains("x-flashbots-attestation-type: azure-tdx\r\n"),
            "{got}"
        );
        let seen = seen.lock().unwrap().pop().unwrap();
        let registers = seen["x-flashbots-measurement"].to_str().unwrap();
        let registers: BTreeMap<String, String> = serde_json::from_str(registers).unwrap();
        assert_eq!((registers.len(), &*registers["4"]), (24, &*"00".repeat(32)));
        assert_eq!(registers["17"], "ff".repeat(32));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_let_requests_under_way_end() {
    for signal in ["TERM", "INT"] {
        let (target, seen) = origin().await;
        let target = format!("--target-addr={target}");
        let flags = ["server", &target, "--server-attestation-type=none"];
        let mut proxy = Proxy::start(&flags);
        let url = format!("https://{}/slow", proxy.address);
        let asking = tokio::spawn(async move { asked(&["--insecure", &url]).await });
        let started = Instant::now();
        while seen.lock().unwrap().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy.signal(signal);
        assert!(asking.await.unwrap().ends_with("slow\n"));
        let status = tokio::task::block_in_place(|| proxy.wait(Duration::from_secs(5)));
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(proxy.says("stopped") && !proxy.says("cut off"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_answered_on_any_path_and_flags_come_from_the_environment() {
    let (target, _) = origin().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let health = free.local_addr().unwrap().to_string();
    drop(free);
    let mut command = cvmctl(&["server"]);
    command
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("LISTEN_ADDR_HEALTHCHECK", &health)
        .env("TARGET_ADDR", &target)
        .env("SERVER_ATTESTATION_TYPE", "none")
        .env("CLIENT_ATTESTATION_TYPE", "azure-tdx")
        .env("LOG_JSON", "true")
        .env("LOG_DEBUG", "false");
    let proxy = Proxy::spawn(command);
    for path in ["/", "/livez"] {
        let got = asked(&[&format!("http://{health}{path}")]).await;
        assert!(got.starts_with("http/1.1 200"), "{got}");
    }
    let url = format!("https://{}/", proxy.address);
    assert!(
        asked(&["--insecure", &url])
            .await
            .ends_with("answer to /\n")
    );
    assert!(proxy.says("--client-attestation-type is deprecated"));
    assert!(proxy.says("neither side proves anything"));
    let log = proxy.log.lock().unwrap();
    assert!(
        log.iter()
            .all(|line| line["service"] == "proxy-server" && line["level"].is_string())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_are_kept_where_they_always_were() {
    let machine = Machine::new(EvidenceKind::DcapTdx);
    let node = node(&machine).await;
    let mut flags = machine.trust();
    flags.push(format!("--target-addr=https://{node}"));
    flags.push(format!(
        "--server-measurements={}",
        machine.path("measurements.json")
    ));
    flags.push("--log-dcap-quote=true".to_owned());
    let common = ["--listen-addr=127.0.0.1:0", "--log-json"];
    let mut command = cvmctl(&[&["client"], &strs(&flags)[..], &common].concat());
    let directory = tempfile::tempdir().unwrap();
    command.current_dir(directory.path());
    let proxy = Proxy::spawn(command);
    asked(&[&proxy.url("/")]).await;
    let kept: Vec<_> = std::fs::read_dir(directory.path().join("quotes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [quote] = &kept[..] else {
        panic!("expected one quote, got {kept:?}");
    };
    let name = quote.file_name().unwrap().to_str().unwrap();
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    assert!(
        name.starts_with("quote_received_20") && name.ends_with(".dat"),
        "{name}"
    );
    assert_eq!((digits.len(), name.len()), (14, 34), "{name}");
    assert_eq!(
        &std::fs::read(quote).unwrap()[..2],
        [4, 0],
        "a quote of version 4"
    );
}

#[test]
fn what_would_prove_nothing_is_refused_with_an_explanation() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let none = file("none.json", "[]");
    let empty = file(
        "empty.json",
        r#"[{"measurement_id":"x","attestation_type":"azure-tdx","measurements":{}}]"#,
    );
    let broken = file("broken.json", "{");
    let none = format!("--server-measurements={none}");
    let empty = format!("--server-measurements={empty}");
    let broken = format!("--server-measurements={broken}");
    let target = "--target-addr=https://127.0.0.1:9";
    for (arguments, expected) in [
        (
            &["client", target][..],
            "what the server has to be is not said",
        ),
        (&["client", target, &none], "got none"),
        (&["client", target, &empty], "expected at least one"),
        (&["client", target, &broken], "not JSON"),
        (
            &["client", target, &none, "--verify-tls"],
            "does not go with",
        ),
        (
            &["client", "--target-addr=http://x", &none],
            "expected an https address",
        ),
        (
            &["client", target, &none, "--tls-ca-certificate=x"],
            "--verify-tls",
        ),
        (
            &["client", target, &none, "--dev-dummy-dcap=http://x"],
            "quotes of a dummy prove nothing",
        ),
        (
            &["server", "--server-attestation-type=dummy"],
            "quotes of a dummy prove nothing",
        ),
        (
            &["server", "--tls-certificate-path=x"],
            "--tls-private-key-path",
        ),
        (
            &[
                "server",
                "--tls-certificate-path=x",
                "--tls-private-key-path=x",
            ],
            "needs --server-attestation-type=none",
        ),
        (
            &["server", "--target-addr=localhost:80"],
            "expected an address such as",
        ),
        (
            &["client", target, &none, "--danger-trust-ak-root=x"],
            "--danger-trust-root",
        ),
    ] {
        let output = cvmctl(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_machine_that_is_none_is_not_served_as_one() {
    let has_hardware = ["/dev/tpmrm0", "/sys/kernel/config/tsm/report"];
    if has_hardware.iter().any(|path| Path::new(path).exists()) {
        // There it would rightly find something.
        return;
    }
    let output = cvmctl(&["server", "--listen-addr=127.0.0.1:0"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("make evidence of this machine"), "{errors}");
}
