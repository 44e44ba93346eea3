//! A hub beside simulated nodes: `builderhub`, with attested TLS that believes test keys, administered
//! as an admin does, by its own command line.
//!
//! I/O: starts builderhub; files in the directory that is given; listens on 127.0.0.1.

mod admin;
mod builder;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::azure::host::Roots;
use testkit::azure::hub::certify;
use testkit::child::{Child, dependent};

pub(crate) use admin::{Admin, USER};
pub(crate) use builder::{Builder, CONFIGURATION, SECRETS};

use crate::relying_party::roots_flags;
use crate::signals::starting;

/// Longer than requests under way have, once it is to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// Its listeners' options, the names that it prints, and the ports that it has by itself; the last is
/// where this project's services attest.
const LISTENERS: [(&str, &str, u16); 5] = [
    ("--listen-addr", "main", 8080),
    ("--admin-addr", "admin", 8081),
    ("--internal-addr", "internal", 8082),
    ("--metrics-addr", "metrics", 8090),
    ("--atls-listen", "attested", 7936),
];

/// What is to be started.
pub(crate) struct Settings<'a> {
    /// builderhub.
    pub(crate) program: &'a Path,
    /// For what outlasts it: database, keys, password.
    pub(crate) state: &'a Path,
    /// For the rest.
    pub(crate) run: &'a Path,
    /// Which name its certificate is for.
    pub(crate) name: &'a str,
    /// Whose evidence it believes.
    pub(crate) roots: &'a Roots,
    /// Whether it has its usual ports, where they are free.
    pub(crate) has_usual_ports: bool,
}

/// A hub that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Hub {
    child: Child,
    addresses: BTreeMap<String, SocketAddrV4>,
    admin: Admin,
    log: PathBuf,
}

impl Hub {
    /// Starts it, with what it had before if there is something.
    pub(crate) fn start(settings: &Settings<'_>) -> Result<Self> {
        fs::create_dir_all(settings.state).context("make the hub's directory")?;
        fs::create_dir_all(settings.run).context("make the hub's directory")?;
        let credentials = admin::credentials(settings.program, settings.state)?;
        let log = settings.run.join("hub.log");
        let mut command = dependent(&settings.program.display().to_string());
        command.env_clear().arg("serve").args(arguments(settings)?);
        command.stdout(Stdio::piped());
        command.stderr(fs::File::create(&log).context("write the hub's log")?);
        let child = starting(|| Child::spawn(&mut command))?;
        let mut child = child.context("start the hub")?;
        let output = child.take_stdout().context("read what the hub prints")?;
        let mut lines = BufReader::new(output).lines();
        let mut addresses = BTreeMap::new();
        while addresses.len() < LISTENERS.len() {
            let line = lines.next().and_then(Result::ok);
            let Some(line) = line else {
                let said = fs::read_to_string(&log).unwrap_or_default();
                anyhow::bail!("the hub ended at once: {}", said.trim_end());
            };
            let (name, address) = listening(&line).with_context(|| format!("understand {line}"))?;
            addresses.insert(name, address);
        }
        let address = addresses.get("admin").context("find the admin's address")?;
        let admin = Admin::new(settings.program, *address, credentials);
        Ok(Self {
            child,
            addresses,
            admin,
            log,
        })
    }

    /// Where one of its listeners is: `main`, `admin`, `internal`, `metrics`, `attested`.
    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddrV4> {
        let address = self.addresses.get(listener).copied();
        address.with_context(|| format!("the hub does not listen for {listener}"))
    }

    /// Its admin.
    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where it logs to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has ended by itself.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait();
        let Some(status) = ended else { return Ok(()) };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        anyhow::bail!("the hub ended ({status}): {}", said.trim_end());
    }

    /// Ends it in order; returns whether it did by itself.
    pub(crate) fn stop(&mut self) -> bool {
        let asked = i32::try_from(self.child.id())
            .is_ok_and(|id| kill(Pid::from_raw(id), Signal::SIGTERM).is_ok());
        let status = self.child.wait_timeout(STOP_TIMEOUT);
        asked && status.is_some_and(|status| status.success())
    }
}

fn arguments(settings: &Settings<'_>) -> Result<Vec<String>> {
    let Settings { state, run, .. } = settings;
    let certified = certify(settings.name, SystemTime::now()).context("certify the hub")?;
    let (certificate, key) = (run.join("hub.pem"), run.join("hub.key"));
    fs::write(&certificate, certified.certificate).context("write the hub's certificate")?;
    write_private(&key, &certified.key)?;
    let files = [
        ("--database", state.join("hub.sqlite")),
        ("--admin-password-file", state.join("password.hash")),
        ("--tls-certificate", certificate),
        ("--tls-key", key),
    ];
    let roots = roots_flags(settings.roots);
    let roots = roots.map(|(flag, path)| (flag, path.to_owned()));
    let files = files.into_iter().chain(roots);
    let mut arguments: Vec<_> = files
        .map(|(flag, path)| format!("{flag}={}", path.display()))
        .collect();
    for (flag, _, port) in LISTENERS {
        let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let port = match settings.has_usual_ports && is_free() {
            true => port,
            false => 0,
        };
        arguments.push(format!("{flag}=127.0.0.1:{port}"));
    }
    Ok(arguments)
}

/// `listening NAME ADDRESS`
fn listening(line: &str) -> Option<(String, SocketAddrV4)> {
    let (name, address) = line.strip_prefix("listening ")?.split_once(' ')?;
    Some((name.to_owned(), address.parse().ok()?))
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let writing = || format!("write {}", path.display());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(writing)?;
    file.write_all(text.as_bytes()).with_context(writing)?;
    let mode = file.metadata().with_context(writing)?;
    use std::os::unix::fs::MetadataExt;
    ensure!(
        mode.mode() & 0o077 == 0,
        "{} can be read by others: remove it",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_is_parsed() {
        let (name, address) = listening("listening admin 127.0.0.1:8081").unwrap();
        assert_eq!((name.as_str(), address.port()), ("admin", 8081));
        assert!(listening("ready").is_none());
        assert!(listening("listening admin [::1]:1").is_none());
    }
}
