//! A TCP connection to a server, whichever of its addresses takes it.
//!
//! I/O: looks the name up; opens sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::error::UpstreamError;
use super::lookup::Lookup;
use super::target::Target;

/// A connection without traffic is probed after this time, then this often, this many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// What was sent and is not acknowledged after this time, is lost with its connection.
const UNACKNOWLEDGED_MS: u32 = 300_000;

/// Looks the name up now, since servers move, and tries its addresses one after the other.
pub(super) async fn dial(
    target: &Target,
    lookup: &Lookup,
    limit: Duration,
) -> Result<TcpStream, UpstreamError> {
    let resolve = |source| UpstreamError::Resolve {
        target: target.address(),
        source,
    };
    let addresses = lookup.addresses(limit, || {
        let name = (target.host().to_owned(), target.port());
        async move { Ok(lookup_host(name).await?.collect::<Vec<_>>()) }
    });
    let addresses = addresses.await.map_err(resolve)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.iter() {
        match connect(*address, limit).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(UpstreamError::Connect {
        target: target.address(),
        source: last,
    })
}

async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let connecting = timeout(limit, TcpStream::connect(address));
    let socket = connecting.await.unwrap_or_else(|_| Err(too_slow(limit)))?;
    socket.set_nodelay(true)?;
    let (idle, interval, count) = KEEPALIVE;
    set_socket_keepalive(&socket, true)?;
    set_tcp_keepidle(&socket, idle)?;
    set_tcp_keepintvl(&socket, interval)?;
    set_tcp_keepcnt(&socket, count)?;
    set_tcp_user_timeout(&socket, UNACKNOWLEDGED_MS)?;
    Ok(socket)
}

pub(super) fn too_slow(limit: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {limit:?}"),
    )
}
