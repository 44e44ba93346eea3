//! Programs that are measured, each a process of its own; shared with the benchmark of the proxies.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A program at work that listens somewhere; ends with this, and with this process however that ends.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: String,
    /// What else it says in its first line.
    pub(crate) said: String,
}

impl Peer {
    /// Starts a program whose first line is "listening ADDRESS".
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let mut words = line.split_whitespace().skip(1).map(str::to_owned);
        let peer = Self {
            child,
            address: words.next().unwrap_or_default(),
            said: words.next().unwrap_or_default(),
        };
        if peer.address.is_empty() {
            return Err(format!("{} does not listen", program.display()).into());
        }
        // A line for each connection, of some, which nobody needs.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(peer)
    }

    /// Processor seconds, user and system, that the process has taken; in hundredths.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no process")?;
        let ticks = |index: usize| -> Result<f64, Failure> {
            let field = fields.split_whitespace().nth(index).ok_or("no time")?;
            Ok(field.parse()?)
        };
        // Fields 14 and 15 of proc_pid_stat(5).
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds files of the Go program, or all ("."), beside this program.
pub(crate) fn build_go(name: &str, files: &[&str]) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name(name);
    // The sources are where the benchmark was compiled.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .args(files)
        .current_dir(workspace.join("attestation/interop"))
        .env("GOCACHE", own.with_file_name("go-build"))
        .env("GOFLAGS", "")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .status()?;
    match status.success() {
        true => Ok(program),
        false => Err("go build failed".into()),
    }
}

/// Adds a row with what each number of one row is of the same of another.
pub(crate) fn add_ratio(results: &mut Map<String, Value>, ours: &str, to: &str, called: &str) {
    let row = |name: &str| results.get(name).and_then(Value::as_object).cloned();
    let (Some(own), Some(other)) = (row(ours), row(to)) else {
        panic!("no rows {ours} and {to}");
    };
    let ratios: Map<String, Value> = own
        .iter()
        .filter_map(|(key, value)| {
            let ratio = value.as_f64()? / other.get(key)?.as_f64()?;
            Some((key.clone(), ratio.into()))
        })
        .collect();
    results.insert(format!("{ours}, ratio to {called}"), ratios.into());
}
