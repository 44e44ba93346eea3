//! Whether all Internet sockets of a process are on loopback: what it would send elsewhere needs one.
//!
//! I/O: reads `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// `proc_pid_net(5)`: one line for each socket of the process's network.
const TABLES: [&str; 6] = ["tcp", "udp", "raw", "tcp6", "udp6", "raw6"];

/// Fails if the process has a socket that is bound or connected to anything but loopback; returns
/// how many it has.
pub(super) fn ensure_only_loopback(process: u32) -> Result<usize> {
    let directory = Path::new("/proc").join(process.to_string());
    let own = inodes(&directory.join("fd"))?;
    let mut count = 0;
    for table in TABLES {
        // Without IPv6 there are no tables of it.
        let Ok(text) = fs::read_to_string(directory.join("net").join(table)) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let socket = parse(line).with_context(|| format!("parse {table}: {line}"))?;
            if own.contains(&socket.inode) {
                ensure!(
                    socket.is_on_loopback(),
                    "a socket that is not on loopback: {table} {line}"
                );
                count += 1;
            }
        }
    }
    Ok(count)
}

/// The inodes of a process's sockets.
fn inodes(descriptors: &Path) -> Result<BTreeSet<u64>> {
    let entries = fs::read_dir(descriptors).context("look at QEMU's descriptors")?;
    // A descriptor that has been closed in the meantime is no socket.
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links
        .filter_map(|link| {
            let text = link.to_str()?.strip_prefix("socket:[")?;
            text.strip_suffix(']')?.parse().ok()
        })
        .collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    local: String,
    remote: String,
    inode: u64,
}

/// `sl local:port remote:port state queues timer retransmit uid timeout inode …`
fn parse(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = |word: &str| Some(word.split_once(':')?.0.to_owned());
    Some(Socket {
        local: address(words.get(1)?)?,
        remote: address(words.get(2)?)?,
        inode: words.get(9)?.parse().ok()?,
    })
}

impl Socket {
    fn is_on_loopback(&self) -> bool {
        let is_unconnected = self.remote.bytes().all(|byte| byte == b'0');
        is_loopback(&self.local) && (is_unconnected || is_loopback(&self.remote))
    }
}

/// Addresses are in hexadecimal, each 32 bits in the order of this machine.
fn is_loopback(address: &str) -> bool {
    let is_v4 = address.len() == 8 && address.ends_with("7F");
    let is_mapped = address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F");
    is_v4 || is_mapped || address == "00000000000000000000000001000000"
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    /// Both in one test: the whole process is looked at.
    #[test]
    fn sockets_elsewhere_are_found() {
        let process = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(ensure_only_loopback(process).unwrap() >= 1);
        let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(ensure_only_loopback(process).is_err());
        drop((listener, everywhere));
    }

    #[test]
    fn addresses_are_told_apart() {
        assert!(is_loopback("0100007F"));
        assert!(is_loopback("0200A07F"));
        assert!(is_loopback("00000000000000000000000001000000"));
        assert!(is_loopback("0000000000000000FFFF00000100007F"));
        assert!(!is_loopback("00000000"));
        assert!(!is_loopback("7F000001"));
        assert!(!is_loopback("00000000000000000000000000000000"));
    }

    #[test]
    fn line_is_parsed() {
        let line = "   0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 20 4 30 10 -1";
        let socket = parse(line).unwrap();
        assert_eq!(socket.inode, 12345);
        assert!(socket.is_on_loopback());
        let elsewhere = parse(&line.replace("0100007F:9C40", "01020304:9C40")).unwrap();
        assert!(!elsewhere.is_on_loopback());
    }
}
