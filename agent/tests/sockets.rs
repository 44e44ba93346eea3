//! `cvm-agent attest` on sockets that a service manager holds for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The program with `socket` as systemd passes it: number 3, and variables that say so to this process.
fn start(directory: &Path, local: SocketAddr, socket: &TcpListener) -> Child {
    let config = directory.join("conf.d");
    fs::create_dir_all(&config).unwrap();
    let drop_in = format!("[attest]\nlisten = \"127.0.0.1:0\"\nlocal = \"{local}\"\n");
    fs::write(config.join("10-base.toml"), drop_in).unwrap();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args([env!("CARGO_BIN_EXE_cvm-agent"), "attest", "--config"])
        .arg(config)
        .arg("--root")
        .arg(directory)
        .stdin(OwnedFd::from(socket.try_clone().unwrap()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Asks before or while nobody is there to answer.
fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    stream
}

fn answered(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_asks_while_it_is_started_again_is_answered() {
    let directory = TempDir::new().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    for _ in 0..2 {
        let early = ask(address);
        let mut program = start(directory.path(), address, &socket);
        let answer = answered(early);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        program.kill().unwrap();
        program.wait().unwrap();
        // Nobody else gets the port meanwhile.
        TcpListener::bind(address).unwrap_err();
    }
}

#[test]
fn a_socket_that_nobody_knows_is_refused_and_named() {
    let directory = TempDir::new().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let other = SocketAddr::from(([127, 0, 0, 1], 0));
    let output = start(directory.path(), other, &socket).wait_with_output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&format!("the unit listens on {address}")),
        "{error}"
    );
}
