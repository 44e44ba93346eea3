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

/// The program with two sockets as systemd passes them: from number 3 on, and variables that say so to this
/// process.
fn start(directory: &Path, [listen, local]: [SocketAddr; 2], sockets: &[TcpListener; 2]) -> Child {
    let config = directory.join("conf.d");
    fs::create_dir_all(&config).unwrap();
    let drop_in = format!("[attest]\nlisten = \"{listen}\"\nlocal = \"{local}\"\n");
    fs::write(config.join("10-base.toml"), drop_in).unwrap();
    let script = "exec 3<&0 4<&1 </dev/null >&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";
    let [one, other] = sockets
        .each_ref()
        .map(|it| OwnedFd::from(it.try_clone().unwrap()));
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args([env!("CARGO_BIN_EXE_cvm-agent"), "attest", "--config"])
        .arg(config)
        .arg("--root")
        .arg(directory)
        .stdin(one)
        .stdout(other)
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

fn sockets() -> ([TcpListener; 2], [SocketAddr; 2]) {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|it| it.local_addr().unwrap());
    (sockets, addresses)
}

#[test]
fn who_asks_while_it_is_started_again_is_answered() {
    let directory = TempDir::new().unwrap();
    let (sockets, addresses) = sockets();
    for _ in 0..2 {
        let early = ask(addresses[1]);
        let mut program = start(directory.path(), addresses, &sockets);
        let answer = answered(early);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        program.kill().unwrap();
        program.wait().unwrap();
        // Nobody else gets the ports meanwhile.
        for address in addresses {
            TcpListener::bind(address).unwrap_err();
        }
    }
}

#[test]
fn a_unit_and_drop_ins_that_do_not_agree_are_refused_and_named() {
    let directory = TempDir::new().unwrap();
    let (sockets, [one, other]) = sockets();
    let nobodys = SocketAddr::from(([127, 0, 0, 1], 1));
    let error = |listen, local| {
        let program = start(directory.path(), [listen, local], &sockets);
        let output = program.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = error(one, nobodys);
    assert!(
        missing.contains("the unit does not listen on 127.0.0.1:1"),
        "{missing}"
    );
    // As many sockets, of which one is not said to be anything: both are needed, so this is the other way round.
    let missing = error(nobodys, other);
    assert!(
        missing.contains("the unit does not listen on 127.0.0.1:1"),
        "{missing}"
    );
}
