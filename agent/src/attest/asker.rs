//! Which of the machine's users asks, and what of the hub is for all of them.
//!
//! The hub gives the node's configuration, secrets and all, to whom it takes for the node. So the proxy
//! to it answers root, who boots the node, and this service itself; everybody else only what the
//! drop-ins open.
//!
//! The kernel says whose socket is at the other end of a connection on loopback, in the tables of
//! `proc_net_tcp(5)`. One that is no longer connected is nobody's: it is listed as root's.
//!
//! I/O: reads `/proc/self/net`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use attested_http::{Body, body};
use hyper::{Request, Response, StatusCode};
use nix::unistd::Uid;

/// Where the kernel lists the sockets of this process's network.
const TABLES: &str = "/proc/self/net";

/// `TCP_ESTABLISHED`, include/net/tcp_states.h of Linux.
const ESTABLISHED: &str = "01";

/// Refusals are said again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// Decides who may ask for what.
pub(super) struct Askers {
    open: Vec<String>,
    /// Where the proxy listens.
    proxy: SocketAddr,
    tables: PathBuf,
    /// When a refusal was said last.
    said: Mutex<Option<Instant>>,
}

impl Askers {
    /// Everybody may ask for the paths of `open`; one that ends with a slash stands for all below it.
    pub(super) fn new(open: &[String], proxy: SocketAddr) -> Self {
        Self {
            open: open.to_owned(),
            proxy,
            tables: PathBuf::from(TABLES),
            said: Mutex::default(),
        }
    }

    /// A refusal, if this peer may not have what it asks for.
    pub(super) fn refuse(
        &self,
        request: &Request<Body>,
        peer: SocketAddr,
    ) -> Option<Response<Body>> {
        if self.is_open(request.uri().path()) {
            return None;
        }
        match owner(&self.tables, peer, self.proxy) {
            Ok(user) if user.is_root() || user == Uid::effective() => None,
            Ok(_) => {
                self.say("a path of the hub that is root's was asked for by another");
                Some(body::failure(
                    StatusCode::FORBIDDEN,
                    "not_for_services",
                    "on this machine, only root may ask the hub for this: see hub.open in the drop-ins",
                ))
            }
            Err(error) => {
                self.say(&format!(
                    "who asks for a path of the hub is not known: {error:#}"
                ));
                Some(body::failure(
                    StatusCode::FORBIDDEN,
                    "not_for_services",
                    "on this machine, only root may ask the hub for this, and who asks is not known",
                ))
            }
        }
    }

    /// Whoever asks again and again must not fill the journal.
    fn say(&self, what: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= AGAIN) {
            *said = Some(Instant::now());
            tracing::warn!("{what}");
        }
    }

    /// Whether this is a path for everybody. What another program could read as another path is none.
    fn is_open(&self, path: &str) -> bool {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '/' | '-' | '_' | '.');
        let is_strange = path.contains("//") || path.contains("/.") || !path.chars().all(is_plain);
        let is_below = |open: &str| match open.ends_with('/') {
            true => path.starts_with(open),
            false => path == open,
        };
        !is_strange && self.open.iter().any(|open| is_below(open))
    }
}

/// Whose socket it is that is connected from `peer` to `proxy`.
fn owner(tables: &Path, peer: SocketAddr, proxy: SocketAddr) -> anyhow::Result<Uid> {
    let table = tables.join(if peer.is_ipv4() { "tcp" } else { "tcp6" });
    let listed = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
    let (peer, proxy) = (written(peer), written(proxy));
    let user = listed.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [_, local, remote, ESTABLISHED, _, _, _, user, ..] => {
                (*local == peer && *remote == proxy).then(|| user.parse().ok())?
            }
            _ => None,
        }
    });
    user.map(Uid::from_raw)
        .ok_or_else(|| anyhow!("{} has no such connection", table.display()))
}

/// An address as the kernel writes it: words of four bytes as numbers of this machine, hexadecimal.
fn written(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _) = bytes.as_chunks::<4>();
    let words = words
        .iter()
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn askers(open: &[&str]) -> Askers {
        let open: Vec<_> = open.iter().map(|it| (*it).to_owned()).collect();
        Askers::new(&open, SocketAddr::from(([127, 0, 0, 1], 7937)))
    }

    #[test]
    fn only_what_is_opened_is_open() {
        let askers = askers(&["/api/builders", "/api/register/"]);
        for open in [
            "/api/builders",
            "/api/register/instance",
            "/api/register/a.b_c-d",
        ] {
            assert!(askers.is_open(open), "{open}");
        }
        for closed in [
            "/api/configuration",
            "/api/builders/",
            "/api/buildersx",
            "/api/register",
            "/api/register/../configuration",
            "/api/register/./x",
            "/api/register//x",
            "/api/register/%2e%2e/configuration",
            "/api/register/x;y",
            "//api/builders",
            "/",
            "",
            "*",
        ] {
            assert!(!askers.is_open(closed), "{closed}");
        }
        assert!(!super::tests::askers(&[]).is_open("/api/builders"));
    }

    #[test]
    fn the_kernel_says_whose_connection_it_is() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(loopback) else {
                // A machine without IPv6 has no such connection either.
                assert_eq!(loopback, "[::1]:0");
                continue;
            };
            let proxy = listener.local_addr().unwrap();
            let client = TcpStream::connect(proxy).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let tables = Path::new(TABLES);
            assert_eq!(owner(tables, peer, proxy).unwrap(), Uid::effective());
            // The other way round is another socket, and another port none.
            assert_eq!(owner(tables, proxy, peer).unwrap(), Uid::effective());
            let other = SocketAddr::new(peer.ip(), 1);
            owner(tables, other, proxy).unwrap_err();
            drop((client, server));
        }
    }

    #[test]
    fn a_line_of_the_table_is_read_as_the_kernel_writes_it() {
        let files = tempfile::tempdir().unwrap();
        let line = |state: &str, user: u32| {
            format!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                 \x20  0: 0100007F:1F01 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
                 \x20  1: 0100007F:B0C4 0100007F:1F01 {state} 00000000:00000000 02:00000E5B 00000000  {user}        0 17 2\n"
            )
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 0xb0c4));
        let proxy = SocketAddr::from(([127, 0, 0, 1], 7937));
        let read = |text: String| {
            fs::write(files.path().join("tcp"), text).unwrap();
            owner(files.path(), peer, proxy).map(Uid::as_raw)
        };
        assert_eq!(read(line("01", 1234)).unwrap(), 1234);
        // What is over is listed as root's: TIME_WAIT, FIN_WAIT2.
        for over in ["06", "05"] {
            read(line(over, 0)).unwrap_err();
        }
        read(String::new()).unwrap_err();
        read(line("01", 7).replace("  7  ", "  x  ")).unwrap_err();
    }

    #[test]
    fn others_than_root_and_itself_are_refused() {
        let files = tempfile::tempdir().unwrap();
        let request = |path: &str| Request::builder().uri(path).body(body::empty()).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 0xb0c4));
        let mut askers = askers(&["/open"]);
        askers.tables = files.path().to_owned();
        for (user, is_refused) in [
            (0, false),
            (Uid::effective().as_raw(), false),
            (54321, true),
        ] {
            let line = format!("1: 0100007F:B0C4 0100007F:1F01 01 0:0 0:0 0 {user} 0 1\n");
            fs::write(files.path().join("tcp"), line).unwrap();
            let refusal = askers.refuse(&request("/secret"), peer);
            assert_eq!(refusal.is_some(), is_refused, "{user}");
            assert!(askers.refuse(&request("/open"), peer).is_none());
        }
        fs::remove_file(files.path().join("tcp")).unwrap();
        let refusal = askers.refuse(&request("/secret"), peer).unwrap();
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
    }
}
