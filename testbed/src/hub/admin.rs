//! The hub's admin: a password of their own, and `builderhub`'s commands.
//!
//! I/O: runs builderhub; files in the hub's directory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::write_private;

/// The admin's name.
pub(crate) const USER: &str = "admin";

/// Whoever has the password.
#[derive(Debug)]
pub(crate) struct Admin {
    program: PathBuf,
    address: SocketAddrV4,
    credentials: Credentials,
}

/// Where the password is, and what it is.
#[derive(Debug)]
pub(super) struct Credentials {
    file: PathBuf,
    password: String,
}

/// Reads the password, or makes one: the hub gets a hash of it only.
pub(super) fn credentials(program: &Path, directory: &Path) -> Result<Credentials> {
    let file = directory.join("credentials");
    if file.exists() {
        let text = fs::read_to_string(&file).context("read the admin's password")?;
        let password = text.trim_end().split_once(':');
        let (_, password) = password.with_context(|| format!("understand {}", file.display()))?;
        let password = password.to_owned();
        return Ok(Credentials { file, password });
    }
    let mut random = [0; 12];
    let mut source = File::open("/dev/urandom").context("make a password")?;
    source.read_exact(&mut random).context("make a password")?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&directory.join("password.hash"), &hash(program, &password)?)?;
    // Last, so that it is there only if all is.
    write_private(&file, &format!("{USER}:{password}\n"))?;
    Ok(Credentials { file, password })
}

fn hash(program: &Path, password: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("hash-password").stdin(Stdio::piped());
    let running = || format!("run {} hash-password", program.display());
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(running)?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{password}").with_context(running)?;
    }
    let output = child.wait_with_output().with_context(running)?;
    ensure!(output.status.success(), "{}: {}", running(), output.status);
    String::from_utf8(output.stdout).with_context(running)
}

impl Admin {
    pub(super) fn new(program: &Path, address: SocketAddrV4, credentials: Credentials) -> Self {
        Self {
            program: program.to_owned(),
            address,
            credentials,
        }
    }

    /// The password.
    pub(crate) fn password(&self) -> &str {
        &self.credentials.password
    }

    /// What comes before a command: which hub, and as whom.
    pub(crate) fn options(&self) -> [String; 4] {
        [
            "--admin-url".to_owned(),
            format!("http://{}", self.address),
            "--credentials".to_owned(),
            self.credentials.file.display().to_string(),
        ]
    }

    /// Runs a command; returns what the hub answered.
    pub(crate) fn run(&self, command: &[&str]) -> Result<Vec<Value>> {
        let output = Command::new(&self.program)
            .args(self.options())
            .arg("--json")
            .args(command)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", self.program.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "builderhub {}: {}",
            command.join(" "),
            errors.trim_end()
        );
        let text = String::from_utf8(output.stdout).context("read the hub's answer")?;
        let answers = text.lines().map(serde_json::from_str);
        let answers: Result<_, _> = answers.collect();
        answers.with_context(|| format!("understand the hub's answer: {text:.200}"))
    }

    /// The entries of a list.
    pub(crate) fn list(&self, command: &[&str]) -> Result<Vec<Value>> {
        let answers = self.run(command)?;
        let lists = answers.into_iter().map(|answer| {
            let entries = answer.get("entries").and_then(Value::as_array).cloned();
            entries.with_context(|| format!("{}: not a list: {answer}", command.join(" ")))
        });
        let lists: Vec<_> = lists.collect::<Result<_>>()?;
        Ok(lists.concat())
    }

    /// Whether there is such a thing; any refusal says that there is not.
    pub(crate) fn knows(&self, command: &[&str]) -> bool {
        self.run(command).is_ok()
    }
}
