//! `cvm-agent attest` as systemd and a user see it: the built program, curl, signals, descriptors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running program, its notification socket and its log.
struct Program {
    child: Child,
    address: SocketAddr,
    notified: UnixDatagram,
    directory: TempDir,
}

impl Program {
    fn start() -> Self {
        Self::start_with("1024", &[])
    }

    fn start_with(descriptors: &str, names: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("notify");
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let stream = log.metadata().unwrap();
        let config = configure(directory.path(), "127.0.0.1:0", names);

        let child = Command::new("sh")
            .args([
                "-c",
                "ulimit -n \"$1\"; shift; exec \"$@\"",
                "sh",
                descriptors,
            ])
            .args([env!("CARGO_BIN_EXE_cvm-agent"), "attest", "--config"])
            .arg(config)
            // No TEE is to be found here, whatever machine this is.
            .arg("--root")
            .arg(directory.path())
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "300000")
            .env(
                "JOURNAL_STREAM",
                format!("{}:{}", stream.dev(), stream.ino()),
            )
            .stderr(log)
            .spawn()
            .unwrap();

        let ready = receive(&notified);
        let address = ready
            .strip_prefix("READY=1\nSTATUS=serving on ")
            .unwrap_or_else(|| panic!("{ready}"))
            .parse()
            .unwrap();
        Self {
            child,
            address,
            notified,
            directory,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Time on a processor so far, in ticks of 10 ms.
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // utime and stime, fields 14 and 15 of proc_pid_stat(5), counted from 3 here.
        fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap())
            .sum()
    }

    fn terminate(&mut self) -> ExitStatus {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "still runs");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a directory of drop-ins and returns its path.
fn configure(directory: &Path, listen: &str, names: &[&str]) -> PathBuf {
    let config = directory.join("conf.d");
    fs::create_dir_all(&config).unwrap();
    let text =
        format!("[attest]\nlisten = {listen:?}\nlocal = \"127.0.0.1:0\"\nnames = {names:?}\n");
    fs::write(config.join("10-base.toml"), text).unwrap();
    config
}

/// Runs the program with such drop-ins until it ends.
fn fails_with(listen: &str, names: &[&str]) -> Output {
    let directory = TempDir::new().unwrap();
    Command::new(env!("CARGO_BIN_EXE_cvm-agent"))
        .args(["attest", "--config"])
        .arg(configure(directory.path(), listen, names))
        .output()
        .unwrap()
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = loop {
        match socket.recv(&mut buffer) {
            // With a time limit, the end of any child process interrupts this.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result.unwrap(),
        }
    };
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Runs curl without the user's configuration and proxies; it is there or the test fails.
fn curl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("curl")
        .args([
            "--disable",
            "--noproxy",
            "*",
            "--silent",
            "--show-error",
            "--max-time",
            "10",
        ])
        .args(arguments)
        .output()
        .expect("curl is needed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn curl_trusts_the_served_certificate_under_all_its_names() {
    let program = Program::start_with("1024", &["node.example", "192.0.2.7"]);
    let port = program.address.port();
    let pem: PathBuf = program.directory.path().join("cert.pem");
    let url = format!("https://127.0.0.1:{port}/cert");
    let certificate = curl(&["--insecure", &url]).unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----\n"));
    fs::write(&pem, &certificate).unwrap();

    let pem = pem.to_str().unwrap();
    for name in ["127.0.0.1", "localhost", "node.example", "192.0.2.7"] {
        let to = format!("{name}:{port}:127.0.0.1:{port}");
        let url = format!("https://{name}:{port}/cert");
        let trusted = curl(&["--connect-to", &to, "--cacert", pem, &url]);
        assert_eq!(trusted.as_ref(), Ok(&certificate), "{name}");
    }
    let to = format!("other.example:{port}:127.0.0.1:{port}");
    let url = format!("https://other.example:{port}/cert");
    curl(&["--connect-to", &to, "--cacert", pem, &url]).unwrap_err();
    curl(&[&format!("https://127.0.0.1:{port}/cert")]).unwrap_err();
}

#[test]
fn systemd_is_told_and_sigterm_ends_it_well() {
    let mut program = Program::start();
    for _ in 0..3 {
        assert_eq!(receive(&program.notified), "WATCHDOG=1");
    }
    assert_eq!(program.terminate().code(), Some(0));
    let stopping = loop {
        let message = receive(&program.notified);
        if message != "WATCHDOG=1" {
            break message;
        }
    };
    assert_eq!(stopping, "STOPPING=1\nSTATUS=draining");
}

#[test]
fn the_journal_gets_priorities_and_the_fingerprint_and_nothing_of_clients() {
    let mut program = Program::start();
    let url = format!("https://{}/%1b%5b2J-hostile", program.address);
    curl(&["--insecure", "--user-agent", "hostile", &url]).unwrap();
    program.terminate();

    let log = program.log();
    let first = log.lines().next().unwrap();
    assert!(first.starts_with("<6>serving version=\""), "{log}");
    let (_, fingerprint) = first.split_once("certificate_sha256=").unwrap();
    assert_eq!(fingerprint.len(), 64);
    let no_tee = |line: &&str| line.starts_with("<4>this machine cannot attest");
    assert_eq!(log.lines().filter(no_tee).count(), 1, "{log}");
    let mut others = log.lines().filter(|line| !no_tee(line));
    assert!(others.all(|line| line.starts_with("<6>")), "{log}");
    assert!(!log.contains("hostile"));
}

#[test]
fn without_descriptors_it_waits_instead_of_spinning() {
    let program = Program::start_with("20", &[]);
    let mut held: Vec<_> = (0..16)
        .map(|_| TcpStream::connect(program.address).unwrap())
        .collect();
    sleep(Duration::from_millis(300));
    let before = program.cpu_ticks();
    sleep(Duration::from_secs(1));
    let ticks = program.cpu_ticks() - before;
    assert!(ticks < 20, "{ticks} ticks in 100");
    assert_eq!(
        program.log().matches("<3>accept: ").count(),
        1,
        "{}",
        program.log()
    );

    held.clear();
    let url = format!("https://{}/healthz", program.address);
    assert_eq!(curl(&["--insecure", &url]).as_deref(), Ok("ok\n"));
}

#[test]
fn an_address_in_use_is_said_once_and_fails() {
    let program = Program::start();
    let output = fails_with(&program.address.to_string(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&format!("listen on {}: ", program.address)),
        "{error}"
    );
}

#[test]
fn names_that_cannot_be_certified_are_refused() {
    for name in ["", "a b", "*.example", "-", "x/../y", "a\nb"] {
        let output = fails_with("127.0.0.1:0", &[name]);
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("10-base.toml"), "{error}");
        assert!(error.contains("neither a DNS name nor"), "{error}");
    }
}

#[test]
fn a_client_that_says_nothing_is_no_hurdle() {
    let program = Program::start();
    let mut silent = TcpStream::connect(program.address).unwrap();
    silent.write_all(&[0x16]).unwrap();
    let url = format!("https://{}/healthz", program.address);
    assert_eq!(curl(&["--insecure", &url]).as_deref(), Ok("ok\n"));
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    silent
        .read_to_end(&mut answer)
        .expect("the handshake has no end");
    assert!(answer.is_empty());
}
