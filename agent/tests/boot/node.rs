//! Both programs of a node, with a service manager that knows how to reload one and start a target.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::unistd::{Uid, User};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::hub::Hub;
use crate::machine::{self, Machine};

/// Far more than anything here should take, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(90);

/// Below `/run`, as everything that has a key has to be.
const RUN: &str = "/run/user";

pub(crate) const SECRET: &str = "correct horse battery staple";

/// A configuration that has what the drop-in requires, and a secret.
pub(crate) fn configuration(dns_name: &str) -> Value {
    json!({ "dns_name": dns_name, "public_ip": "192.0.2.7", "disk": { "key": SECRET } })
}

pub(crate) struct Node {
    files: TempDir,
    /// With which the boot was started.
    options: Vec<String>,
    keys: TempDir,
    attest: Child,
    attests: PathBuf,
    boot: Child,
    local: SocketAddr,
    notified: Receiver<String>,
}

impl Node {
    pub(crate) async fn start(hub: &Hub) -> Self {
        Self::start_with(hub.address, "refresh_seconds = 600").await
    }

    pub(crate) async fn start_with(hub: SocketAddr, setting: &str) -> Self {
        Self::start_whole(hub, setting, "", &[], None).await
    }

    /// On a machine with a data disk.
    pub(crate) async fn start_on(
        hub: SocketAddr,
        setting: &str,
        machine: Option<&Machine>,
    ) -> Self {
        let disk = machine.map_or("", |_| DISK);
        Self::start_whole(hub, setting, disk, &[], machine).await
    }

    /// With more sections in the drop-in, and templates.
    pub(crate) async fn start_as(
        hub: SocketAddr,
        setting: &str,
        sections: &str,
        templates: &[(&str, &str)],
    ) -> Self {
        Self::start_whole(hub, setting, sections, templates, None).await
    }

    async fn start_whole(
        hub: SocketAddr,
        setting: &str,
        sections: &str,
        templates: &[(&str, &str)],
        machine: Option<&Machine>,
    ) -> Self {
        let files = tempfile::tempdir().unwrap();
        for (name, text) in templates {
            let path = files
                .path()
                .join("usr/share/cvm-agent/templates")
                .join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let keys = keys();
        let local = own_address();
        let me = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        let drop_in = format!("{DROP_IN}{sections}")
            .replace("LOCAL", &local.to_string())
            .replace("HUB", &hub.to_string())
            .replace("KEYS", keys.path().to_str().unwrap())
            .replace("SETTING", setting)
            .replace("ME", &me);
        // The test's hub is where the attestation server's proxy to one would be.
        let (attests, _) = drop_in.split_once("[hub]").unwrap();
        let config = |name: &str, drop_in: &str| {
            let directory = files.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("50-test.toml"), drop_in).unwrap();
            directory
        };
        let attests = config("attest.d", attests);
        config("boot.d", &drop_in);
        let notify = files.path().join("notify");
        let notified = UnixDatagram::bind(&notify).unwrap();
        let notified = read_all(notified);

        let attest = attestation(&files, &attests).await;
        systemctl(files.path());
        let root = machine.map_or_else(|| files.path().to_owned(), machine::root);
        // When the image was built; and nothing that says what machine this is.
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/clock-epoch"), "").unwrap();
        let programs = machine.map(machine::programs).unwrap_or_default();
        let [root, systemctl] = [&root, &files.path().join("systemctl")];
        let [root, systemctl] = [root, systemctl].map(|it| it.to_str().unwrap());
        let options = [
            "boot",
            "--root",
            root,
            "--programs",
            &programs,
            "--systemctl",
            systemctl,
        ];
        let options = options.map(str::to_owned).to_vec();
        let boot = boot(&files, &options);
        Self {
            files,
            options,
            keys,
            attest,
            attests,
            boot,
            local,
            notified,
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("boot.log")).unwrap()
    }

    /// Waits until the boot's log has this text so many times.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        self.until(text, || self.log().matches(text).count() >= times)
            .await;
    }

    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "not {what:?}:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What was started, by the service manager's own log.
    pub(crate) fn started(&self) -> String {
        fs::read_to_string(self.files.path().join("started")).unwrap_or_default()
    }

    /// All that units were told, one line each; starts are in [`Self::started`], too.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(self.files.path().join("told")).unwrap_or_default()
    }

    /// A file of the machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.files.path().join(path)
    }

    /// Has the service manager fail whatever is asked of this unit.
    pub(crate) fn refuse(&self, unit: &str) {
        fs::write(self.path(&format!("refuse-{unit}")), "").unwrap();
    }

    pub(crate) fn accept(&self, unit: &str) {
        fs::remove_file(self.path(&format!("refuse-{unit}"))).unwrap();
    }

    /// What the attestation server serves.
    pub(crate) async fn certificate(&self) -> String {
        let mut socket = TcpStream::connect(self.local).await.unwrap();
        let request = b"GET /cert HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Both programs' processes.
    pub(crate) fn processes(&self) -> [u32; 2] {
        [&self.boot, &self.attest].map(|child| child.id().unwrap())
    }

    /// Where all that they write is.
    pub(crate) fn directories(&self) -> [&Path; 2] {
        [self.files.path(), self.keys.path()]
    }

    /// SIGHUP, as a reload sends it.
    pub(crate) async fn reload(&self) {
        kill("-HUP", &self.boot).await;
    }

    /// All that systemd was told since the last time.
    pub(crate) fn notifications(&self) -> Vec<String> {
        self.notified.try_iter().collect()
    }

    /// The file with key and certificate.
    pub(crate) fn key_file(&self) -> std::path::PathBuf {
        self.keys.path().join("attest.pem")
    }

    /// Kills the boot and starts it again, as systemd does; its log begins anew.
    pub(crate) async fn restart_boot(&mut self) {
        self.boot.kill().await.unwrap();
        self.boot = boot(&self.files, &self.options);
    }

    /// Kills the attestation server and starts it again, as systemd does.
    pub(crate) async fn restart_attestation(&mut self) {
        self.attest.kill().await.unwrap();
        self.attest = attestation(&self.files, &self.attests).await;
    }

    /// What the unit that closes the disk runs; what it says.
    pub(crate) async fn close_disk(&self) -> String {
        let [root, programs] = [2, 4].map(|index| &self.options[index]);
        let output = Command::new(env!("CARGO_BIN_EXE_cvm-agent"))
            .args(["close-disk", "--root", root, "--programs", programs])
            .arg("--config")
            .arg(self.path("boot.d"))
            .output();
        let output = output.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    pub(crate) async fn reload_attestation(&self) {
        kill("-HUP", &self.attest).await;
    }

    pub(crate) fn attestation_log(&self) -> String {
        fs::read_to_string(self.files.path().join("attest.log")).unwrap()
    }

    /// SIGTERM; both must end by themselves and well.
    pub(crate) async fn stop(mut self) -> String {
        for child in [&mut self.boot, &mut self.attest] {
            kill("-TERM", child).await;
            let status = tokio::time::timeout(PATIENCE, child.wait()).await;
            assert!(status.unwrap().unwrap().success());
        }
        self.log()
    }
}

const DROP_IN: &str = r#"
[attest]
listen = "127.0.0.1:0"
local = "LOCAL"
identity = "KEYS/attest.pem"
[hub]
url = "https://hub.example"
protocol = "ratls"
listen = "HUB"
[configuration]
path = "/api/configuration"
SETTING
[configuration.required]
public_ip = "address"
dns_name = "name"
"disk.key" = "text"
[identity]
names = ["public_ip", "dns_name"]
keep = "KEYS/node.pem"
[identity.copies.attest]
file = "KEYS/attest.pem"
owner = "ME"
reload = "attest.service"
[registration]
path = "/api/register"
service = "instance"
challenge = "/api/challenge"
[clock]
danger_unsynchronised = true
"#;

/// With a data disk.
const DISK: &str = r#"
[disk]
azure_lun = 10
key = "disk.key"
previous_key = "disk.previous"
"#;

/// An attestation server that is up: nothing else is ever reloaded.
async fn attestation(files: &TempDir, config: &Path) -> Child {
    let root = files.path().to_str().unwrap();
    let options = ["attest", "--root", root].map(str::to_owned);
    let child = spawn(&options, config, files, None);
    fs::write(files.path().join("pid"), child.id().unwrap().to_string()).unwrap();
    let log = || fs::read_to_string(files.path().join("attest.log")).unwrap();
    let end = Instant::now() + PATIENCE;
    while !log().contains(" serving ") {
        assert!(Instant::now() < end, "{}", log());
        sleep(Duration::from_millis(20)).await;
    }
    child
}

/// Reads at once, as systemd does: its queue takes ten.
fn read_all(socket: UnixDatagram) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let said = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if sender.send(said).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A directory in memory that this user may write to.
fn keys() -> TempDir {
    let mine = Path::new(RUN).join(Uid::effective().to_string());
    let places = [mine, "/run/lock".into(), "/run".into()];
    let made = places.iter().find_map(|place| TempDir::new_in(place).ok());
    made.expect("a directory below /run that can be written to")
}

/// An address that no other test has: the port is below those that are given out, the address this
/// process's and this call's own.
fn own_address() -> SocketAddr {
    static CALLS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high | 0x80, low, call], 14727))
}

fn boot(files: &TempDir, options: &[String]) -> Child {
    let path = |name: &str| files.path().join(name);
    spawn(options, &path("boot.d"), files, Some(&path("notify")))
}

/// A service manager of two commands, which refuses all others.
fn systemctl(directory: &Path) {
    let path = directory.join("systemctl");
    let script = format!(
        "#!/bin/sh\ncd {} || exit 1\n\
         if [ -e \"refuse-$3\" ]; then echo \"$3 does not\" >&2; exit 1; fi\ncase \"$*\" in\n\
         'try-reload-or-restart -- attest.service') kill -HUP \"$(cat pid)\" ;;\n\
         'start -- '*) echo \"$3\" >> started; echo \"$1 $3\" >> told ;;\n\
         'stop -- '* | 'try-restart -- '* | 'try-reload-or-restart -- '*) echo \"$1 $3\" >> told ;;\n\
         *) echo \"no such command: $*\" >&2; exit 1 ;;\nesac\n",
        directory.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn spawn(options: &[String], config: &Path, files: &TempDir, notify: Option<&Path>) -> Child {
    let log = files.path().join(format!("{}.log", options[0]));
    let log = fs::File::create(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvm-agent"));
    command
        .args(options)
        .arg("--config")
        .arg(config)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    if let Some(notify) = notify {
        command
            .env("NOTIFY_SOCKET", notify)
            .env("WATCHDOG_USEC", "2000000");
    }
    command.spawn().unwrap()
}

async fn kill(signal: &str, child: &Child) {
    let id = child.id().unwrap().to_string();
    let status = Command::new("kill").args([signal, &id]).status().await;
    assert!(status.unwrap().success());
}
