//! What a node's public services answer to who trusts its certificate and no other.
//!
//! I/O: runs curl.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Where users and other nodes come in.
pub(super) const PORTS: [u16; 2] = [443, 5544];

/// How long a node that has registered may take to be ready, and to start what is wanted then.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);

/// The status of `GET /` by TLS 1.3 at each port; `None` where nobody answers with that certificate.
pub(super) fn answers(
    name: &str,
    certificate: &Path,
    port: impl Fn(u16) -> Result<SocketAddrV4>,
) -> Result<BTreeMap<u16, Option<u16>>> {
    let end = Instant::now() + PATIENCE;
    let mut answers = BTreeMap::new();
    for guest in PORTS {
        let address = port(guest)?;
        let mut status = ask(name, certificate, address)?;
        while status.is_none() && Instant::now() < end {
            sleep(POLL);
            status = ask(name, certificate, address)?;
        }
        answers.insert(guest, status);
    }
    Ok(answers)
}

fn ask(name: &str, certificate: &Path, address: SocketAddrV4) -> Result<Option<u16>> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "5", "--tlsv1.3", "--noproxy", "*"])
        .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
        .arg("--cacert")
        .arg(certificate)
        .args(["--connect-to", &format!("::{address}")])
        .arg(format!("https://{name}/"))
        .stdin(Stdio::null())
        .output()
        .context("run curl")?;
    let status = String::from_utf8_lossy(&output.stdout);
    // It says 000 where there was no answer.
    let status = status.trim().parse().ok().filter(|status| *status > 0);
    Ok(status.filter(|_| output.status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_answers_where_nobody_listens() {
        if !testkit::needed::programs(&["curl"]) {
            return;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = port.local_addr().unwrap() else {
            panic!("asked for IPv4");
        };
        drop(port);
        let answer = ask("node.example", Path::new("/dev/null"), address);
        assert_eq!(answer.unwrap(), None);
    }
}
