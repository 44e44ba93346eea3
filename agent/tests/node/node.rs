//! The program at work.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Far more than anything here should take, on a slow machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
pub(crate) struct Node {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) hub: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    _files: TempDir,
}

impl Node {
    /// Starts it with these drop-ins besides one that has it listen on loopback; `options` say where
    /// the machine is.
    pub(crate) async fn start(options: &[&str], drop_in: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let base = "[attest]\nlisten = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n";
        fs::write(files.path().join("10-base.toml"), base).unwrap();
        fs::write(files.path().join("50-layer.toml"), drop_in).unwrap();
        let mut child = Self::command(files.path(), options).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<String>>::default();
        let serving = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", log.lock().unwrap()));
            *log.lock().unwrap() += &format!("{line}\n");
            if line.contains(" serving ") {
                break line;
            }
        };
        let rest = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *rest.lock().unwrap() += &format!("{line}\n");
            }
        });
        let field = |name: &str| {
            let named = format!("{name}=");
            let value = serving
                .split(' ')
                .find_map(|word| word.strip_prefix(&named));
            value
                .unwrap_or_else(|| panic!("no {name} in {serving}"))
                .to_owned()
        };
        Self {
            public: field("address").parse().unwrap(),
            local: field("local").parse().unwrap(),
            hub: field("proxy").parse().ok(),
            child,
            log,
            _files: files,
        }
    }

    pub(crate) fn command(config: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvm-agent"));
        command
            .args(["attest", "--config"])
            .arg(config)
            .args(options)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Waits until the log has this text.
    pub(crate) async fn logged(&self, text: &str) {
        let waiting = async {
            while !self.log.lock().unwrap().contains(text) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "no {text:?} in:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The URL of a path on the attested port.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.public)
    }

    /// Tells it to stop, as systemd does; it must end by itself and well.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(kill.unwrap().success());
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
        self.logged("stopped").await;
    }
}

/// What curl prints, or its exit code and error.
pub(crate) async fn curl(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--noproxy",
        "*",
    ]);
    let output = command.args(arguments).kill_on_drop(true).output();
    let output = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}
