//! Starts hubs and asks them.

pub(crate) mod curl;
pub(crate) mod http;
pub(crate) mod pki;
pub(crate) mod postgres;
pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use http::Answer;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_builderhub");
pub(crate) const PASSWORD: &str = "correct horse";
/// bcrypt of the above, cost 4.
const HASH_COST: u32 = 4;

/// Runs each test on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name($crate::support::Kind::Sqlite); })*
        }
        mod on_postgres {
            $(#[test] fn $name() { super::$name($crate::support::Kind::Postgres); })*
        }
    };
}
pub(crate) use on_both;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Where a test's data are; outlives the hubs that use them.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) location: String,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = match kind {
            Kind::Sqlite => directory.path().join("hub.sqlite").display().to_string(),
            Kind::Postgres => postgres::fresh_database(false),
        };
        std::fs::write(
            directory.path().join("hash"),
            bcrypt::hash(PASSWORD, HASH_COST).unwrap(),
        )
        .unwrap();
        let key = directory.path().join("key");
        run(&["key", "new", key.to_str().unwrap()]);
        Self {
            directory,
            location,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Runs the program to its end, which has to be a good one.
pub(crate) fn run(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program to its end, which has to be a bad one, and returns what it says.
pub(crate) fn fails(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A hub that runs until it is dropped.
pub(crate) struct Hub {
    child: Child,
    listeners: BTreeMap<String, SocketAddr>,
}

/// The options of most tests: small configurations, all measurements, headers.
pub(crate) const LAX: &[&str] = &[
    "--trust-proxy-headers",
    "--required-keys=none",
    "--danger-accept-any-measurement",
    "--node-requests-per-minute=100000",
];

impl Hub {
    pub(crate) fn start(place: &Place, options: &[&str]) -> Self {
        Self::start_as(place, options, |_| {})
    }

    /// With its log in the place's file `log`, after what is there.
    pub(crate) fn start_logging(place: &Place, options: &[&str]) -> Self {
        let log = place.path("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        let log = log.unwrap();
        Self::start_as(place, options, |command| {
            command.stderr(log);
        })
    }

    pub(crate) fn start_as(
        place: &Place,
        options: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .arg("serve")
            .args(base(place, options))
            .args(options);
        change(&mut command);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listeners = BTreeMap::new();
        let wanted = 4 + usize::from(options.iter().any(|o| o.starts_with("--atls-listen")));
        while listeners.len() < wanted {
            let Some(line) = lines.next() else {
                panic!("the hub ended: {:?}", child.wait());
            };
            let line = line.unwrap();
            let mut words = line.split(' ').skip(1);
            let name = words.next().unwrap().to_owned();
            listeners.insert(name, words.next().unwrap().parse().unwrap());
        }
        Self { child, listeners }
    }

    pub(crate) fn lax(place: &Place) -> Self {
        Self::start(place, LAX)
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.listeners[listener]
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().success()
    }

    /// A request without any authentication.
    pub(crate) fn ask(&self, listener: &str, method: &str, path: &str) -> Answer {
        http::request(self.address(listener), method, path, &[], b"")
    }

    /// A request as admin.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let path = format!("/api/admin/v1/{path}");
        self.admin_at(method, &path, body)
    }

    pub(crate) fn admin_at(&self, method: &str, path: &str, body: &str) -> Answer {
        let basic = http::basic("admin", PASSWORD);
        let headers = [
            ("Authorization", basic.as_str()),
            ("Content-Type", "application/json"),
        ];
        http::request(
            self.address("admin"),
            method,
            path,
            &headers,
            body.as_bytes(),
        )
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.admin("POST", path, &body.to_string())
    }

    /// A request as the node at an address, with registers.
    pub(crate) fn node(&self, address: &str, method: &str, path: &str, body: &str) -> Answer {
        self.node_with(address, r#"{"4":"aa"}"#, method, path, body)
    }

    pub(crate) fn node_with(
        &self,
        address: &str,
        registers: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let headers = [
            ("X-Flashbots-Attestation-Type", "test"),
            ("X-Flashbots-Measurement", registers),
            ("X-Forwarded-For", address),
        ];
        let path = format!("/api/l1-builder/v1/{path}");
        http::request(
            self.address("main"),
            method,
            &path,
            &headers,
            body.as_bytes(),
        )
    }

    /// Adds and activates a measurement that matches register 4 = aa.
    pub(crate) fn whitelist(&self, name: &str) {
        let measurement = json!({"measurement_id": name, "attestation_type": "test",
            "measurements": {"4": {"expected": "aa"}}});
        self.post("measurements", &measurement).ok();
        self.post(
            &format!("measurements/activation/{name}"),
            &json!({"enabled": true}),
        )
        .ok();
    }

    /// Adds and activates a builder with a configuration.
    pub(crate) fn builder(&self, name: &str, ip: &str, network: &str) {
        let builder = json!({"name": name, "ip_address": ip, "network": network,
            "dns_name": format!("{}.example.net", name.replace('_', "-"))});
        self.post("builders", &builder).ok();
        self.post(
            &format!("builders/configuration/{name}"),
            &json!({"instance_name": name}),
        )
        .ok();
        self.post(
            &format!("builders/activation/{name}"),
            &json!({"enabled": true}),
        )
        .ok();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Options that tests need, but for those that a test gives itself.
pub(crate) fn base(place: &Place, options: &[&str]) -> Vec<String> {
    let path = |name: &str| place.path(name).display().to_string();
    let any = || "127.0.0.1:0".to_owned();
    let mut base = vec![
        ("--database", place.location.clone()),
        ("--secrets-key-file", path("key")),
        ("--admin-password-file", path("hash")),
        ("--listen-addr", any()),
        ("--admin-addr", any()),
        ("--internal-addr", any()),
        ("--metrics-addr", any()),
        ("--drain-seconds", "1".to_owned()),
        ("--connections", "8".to_owned()),
    ];
    let gives = |name: &str| options.iter().any(|option| option.starts_with(name));
    base.retain(|(name, _)| match *name {
        "--secrets-key-file" => !gives("--secrets-key-command"),
        "--admin-password-file" => !gives("--disable-admin-auth"),
        name => !gives(name),
    });
    base.into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

/// Asks again until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed().as_secs() < 30, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Changes a file at once, as whoever may be read at any time has to.
pub(crate) fn replace(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Real documents of others, which are not part of the project.
pub(crate) fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/vectors")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
