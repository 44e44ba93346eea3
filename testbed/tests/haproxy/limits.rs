//! One address's limits, and that they are no other's.

use std::net::{Ipv4Addr, SocketAddr};

use rustls::pki_types::CertificateDer;

use crate::client::{Answer, Client};
use crate::proxy::{Proxy, limited};

const REGULAR: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 4);
const PRIVILEGED: Ipv4Addr = Ipv4Addr::new(127, 1, 9, 9);

/// Limits that no test reaches.
pub(crate) const PLENTY: [(&str, u64); 8] = [
    ("conn_rate_regular", 1_000_000),
    ("total_conn_regular", 1000),
    ("http_req_rate_regular", 1_000_000),
    ("bytes_in_rate_regular", 1_000_000_000),
    ("conn_rate_privileged", 1_000_000),
    ("total_conn_privileged", 1000),
    ("http_req_rate_privileged", 1_000_000),
    ("bytes_in_rate_privileged", 1_000_000_000),
];

/// With one limit that is reached.
fn proxy(reached: (&'static str, u64), privileged: (&'static str, u64)) -> Proxy {
    let mut limits = PLENTY.to_vec();
    limits.extend([reached, privileged]);
    let partners = ["192.0.2.7 somebody", "127.1.9.0/24 partner"];
    Proxy::start(&limited(&limits, &partners))
}

fn connect(from: Ipv4Addr, to: SocketAddr, certificate: &CertificateDer<'static>) -> Client {
    Client::connect(from, to, certificate).unwrap()
}

fn is_told_to_wait(answer: &Answer, seconds: &str) -> bool {
    answer.status == 429 && answer.header("retry-after") == Some(seconds)
}

#[test]
fn too_many_requests() {
    if !crate::is_there() {
        return;
    }
    let proxy = proxy(
        ("http_req_rate_regular", 5),
        ("http_req_rate_privileged", 9),
    );
    let open = |from, port| connect(from, port, &proxy.certificate);
    let mut client = open(REGULAR, proxy.user);
    for _ in 0..5 {
        assert_eq!(client.get().unwrap().status, 200);
    }
    assert!(is_told_to_wait(&client.get().unwrap(), "10"));
    // On another connection, too; and others are not concerned.
    assert!(is_told_to_wait(
        &open(REGULAR, proxy.user).get().unwrap(),
        "10"
    ));
    assert_eq!(open(OTHER, proxy.user).get().unwrap().status, 200);
    // Who is privileged may do more, and so may everybody at the nodes' port, each by itself.
    for (from, port) in [(PRIVILEGED, proxy.user), (REGULAR, proxy.system)] {
        let mut client = open(from, port);
        for _ in 0..9 {
            assert_eq!(client.get().unwrap().status, 200);
        }
        assert!(is_told_to_wait(&client.get().unwrap(), "10"));
    }
}

#[test]
fn too_many_connections_at_a_time() {
    if !crate::is_there() {
        return;
    }
    let proxy = proxy(("total_conn_regular", 3), ("total_conn_privileged", 6));
    let open = |from, port| Client::connect(from, port, &proxy.certificate);
    let get = |client: &mut Client| client.get().unwrap();
    let mut idle: Vec<_> = (0..3).map(|_| open(REGULAR, proxy.user).unwrap()).collect();
    let mut fourth = open(REGULAR, proxy.user).unwrap();
    assert!(is_told_to_wait(&get(&mut fourth), "10"));
    assert_eq!(get(&mut open(OTHER, proxy.user).unwrap()).status, 200);
    // When one has ended, another may come.
    drop(fourth);
    idle.truncate(1);
    crate::proxy::wait(|| get(&mut open(REGULAR, proxy.user).unwrap()).status == 200);
    // Whoever goes on gets no handshake.
    let more: Vec<_> = (0..9).map(|_| open(REGULAR, proxy.user)).collect();
    let refused = more.iter().filter(|it| it.is_err()).count();
    assert_eq!(refused, 4, "of 9, when there was 1 and 6 may be");
    for (from, port) in [(PRIVILEGED, proxy.user), (REGULAR, proxy.system)] {
        let mut connections: Vec<_> = (0..7).map(|_| open(from, port).unwrap()).collect();
        assert!(is_told_to_wait(&get(connections.last_mut().unwrap()), "10"));
        drop(connections.pop());
        crate::proxy::wait(|| {
            get(&mut connections[0]).status == 200 || {
                connections[0] = open(from, port).unwrap();
                false
            }
        });
    }
}

#[test]
fn too_many_connections_in_ten_seconds() {
    if !crate::is_there() {
        return;
    }
    let proxy = proxy(("conn_rate_regular", 4), ("conn_rate_privileged", 8));
    let get = |from, port| {
        let client = Client::connect(from, port, &proxy.certificate);
        client.map(|mut client| client.get().unwrap())
    };
    for _ in 0..4 {
        assert_eq!(get(REGULAR, proxy.user).unwrap().status, 200);
    }
    for _ in 0..4 {
        assert!(is_told_to_wait(&get(REGULAR, proxy.user).unwrap(), "10"));
    }
    assert!(get(REGULAR, proxy.user).is_err());
    assert_eq!(get(OTHER, proxy.user).unwrap().status, 200);
    for (from, port) in [(PRIVILEGED, proxy.user), (REGULAR, proxy.system)] {
        for _ in 0..8 {
            assert_eq!(get(from, port).unwrap().status, 200);
        }
        assert!(is_told_to_wait(&get(from, port).unwrap(), "10"));
    }
}

#[test]
fn too_many_bytes_in_a_minute() {
    if !crate::is_there() {
        return;
    }
    let megabyte = 1 << 20;
    let proxy = proxy(
        ("bytes_in_rate_regular", megabyte),
        ("bytes_in_rate_privileged", 4 * megabyte),
    );
    let body = vec![b'x'; usize::try_from(megabyte).unwrap()];
    let send = |from, port| {
        let mut client = connect(from, port, &proxy.certificate);
        client.post(&body).unwrap()
    };
    let get = |from, port| connect(from, port, &proxy.certificate).get().unwrap();
    assert_eq!(send(REGULAR, proxy.user).status, 200);
    assert!(is_told_to_wait(&get(REGULAR, proxy.user), "60"));
    assert_eq!(get(OTHER, proxy.user).status, 200);
    for (from, port) in [(PRIVILEGED, proxy.user), (REGULAR, proxy.system)] {
        for _ in 0..4 {
            assert_eq!(send(from, port).status, 200);
        }
        assert!(is_told_to_wait(&get(from, port), "60"));
    }
}
