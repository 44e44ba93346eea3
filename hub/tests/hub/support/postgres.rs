//! A real PostgreSQL for the tests of this process. One that is missing fails them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

struct Server {
    directory: PathBuf,
    /// Of the listener with TLS on localhost, whose certificate is `server.crt` in the directory.
    port: u16,
    programs: PathBuf,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database. For tests it is not durable: that is tested on SQLite, and
/// flushes would only make them slower.
pub(crate) fn fresh_database(is_durable: bool) -> String {
    let server = SERVER.get_or_init(|| Server::start(is_durable));
    let name = format!("hub{}", DATABASES.fetch_add(1, Ordering::SeqCst));
    server.sql("postgres", &format!("CREATE DATABASE {name}"));
    url(&name)
}

fn url(name: &str) -> String {
    let server = SERVER.get().unwrap();
    let socket = server.directory.display().to_string().replace('/', "%2F");
    let port = SERVER.get().unwrap().port;
    format!("postgres://hub@{socket}:{port}/{name}")
}

/// The URL of a new, empty database over TLS, and the file with the server's certificate.
pub(crate) fn fresh_database_over_tls() -> (String, PathBuf) {
    let fresh = fresh_database(false);
    let name = fresh.rsplit('/').next().unwrap();
    let server = SERVER.get().unwrap();
    let url = format!(
        "postgres://hub@localhost:{}/{name}?sslmode=require",
        server.port
    );
    (url, server.directory.join("server.crt"))
}

/// Runs SQL in the database of a URL, and returns what it prints.
pub(crate) fn sql(url: &str, sql: &str) -> String {
    let name = url.rsplit('/').next().unwrap();
    SERVER.get().unwrap().sql(name, sql)
}

impl Server {
    fn start(is_durable: bool) -> Self {
        let programs = programs();
        let directory = directory();
        let data = directory.join("data");
        let initdb = command(&programs, "initdb")
            .args([
                "--username=hub",
                "--auth=trust",
                "--no-sync",
                "--locale=C",
                "--encoding=UTF8",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            initdb.status.success(),
            "{}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        let [certificate, key] = ["server.crt", "server.key"].map(|name| directory.join(name));
        write_identity(&certificate, &key);
        let mut server = Self {
            directory,
            port: 0,
            programs,
        };
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            "max_connections=200".to_owned(),
            "ssl=on".to_owned(),
            format!("fsync={is_durable}"),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        for _ in 0..5 {
            server.port = free_port();
            if server.serves(&data, &settings) {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// Starts it; whether it answers, rather than ending because somebody else took the port.
    fn serves(&self, data: &Path, settings: &[String]) -> bool {
        let mut postgres = command(&self.programs, "postgres");
        postgres.arg("-D").arg(data).arg("-k").arg(&self.directory);
        postgres.arg("-p").arg(self.port.to_string());
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        let log = self.directory.join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        postgres.stdout(Stdio::null()).stderr(log.unwrap());
        // The child is told to end when the thread that started it does, so that one lasts.
        let running = std::thread::spawn(move || postgres.spawn().unwrap().wait());
        let start = Instant::now();
        while !self.try_sql("postgres", "SELECT 1").status.success() {
            if running.is_finished() {
                return false;
            }
            let patience = Duration::from_secs(60);
            assert!(
                start.elapsed() < patience,
                "PostgreSQL does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn try_sql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "hub",
            "-d",
            database,
        ]);
        psql.arg("-p").arg(self.port.to_string());
        psql.arg("-h")
            .arg(&self.directory)
            .args(["-c", sql])
            .output()
            .unwrap()
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Debian keeps the server's programs by version and out of the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut programs: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    programs.sort();
    programs
        .pop()
        .expect("these tests need PostgreSQL: install the package `postgresql`")
}

/// Whoever is nobody: PostgreSQL refuses to be root, which tests in containers and trees often are.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn command(programs: &Path, name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.arg(programs.join(name)).env("TZ", "UTC");
    command
}

/// Gives a file to whom PostgreSQL runs as.
fn give(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A directory for this process. Nothing runs at a process's end that could delete it, so the next
/// one does.
fn directory() -> PathBuf {
    let prefix = "builderhub-postgres-";
    let parent = std::env::temp_dir();
    for entry in std::fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let is_alive = |process| PathBuf::from("/proc").join(process).exists();
        if process.is_some_and(|process| !is_alive(process)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let directory = parent.join(format!("{prefix}{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    give(&directory);
    directory
}

/// Somebody else could take it before the server does.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn write_identity(certificate: &Path, key: &Path) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    give(key);
}
