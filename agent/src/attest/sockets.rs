//! Where this service listens: on sockets that the service manager holds for it, or its own.
//!
//! What is held stays bound while the service is started again. So nobody else on the machine can sit
//! down at 127.0.0.1:7937 meanwhile and be the hub, and who connects waits instead of being refused.
//!
//! I/O: reads `LISTEN_PID` and `LISTEN_FDS`, `sd_listen_fds(3)`; listens.

use std::net::{self, SocketAddr};

use anyhow::{Context, bail, ensure};
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// The sockets that were given and nobody has taken.
pub(super) struct Sockets {
    given: Vec<net::TcpListener>,
    are_given: bool,
}

impl Sockets {
    /// Takes what the service manager gave to this process, if anything.
    ///
    /// # Errors
    ///
    /// One of them is no listening TCP socket.
    pub(super) fn from_env() -> anyhow::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut given = Vec::new();
        for index in 0..passed.len() {
            let socket = passed.take_tcp_listener(index);
            let socket = socket.with_context(|| format!("take socket {index} of the unit"))?;
            given.extend(socket);
        }
        let are_given = !given.is_empty();
        Ok(Self { given, are_given })
    }

    /// Listens at an address: with the given socket that does, or, if none was given at all, with a new one.
    ///
    /// # Errors
    ///
    /// Others were given, and this one not: it would be free for anybody whenever this process is not there.
    pub(super) async fn listen(&mut self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let listening = || format!("listen on {address}");
        let is_there = |it: &net::TcpListener| it.local_addr().is_ok_and(|it| it == address);
        let Some(index) = self.given.iter().position(is_there) else {
            ensure!(
                !self.are_given,
                "the unit does not listen on {address}: add it to cvm-attest.socket by a drop-in"
            );
            return TcpListener::bind(address).await.with_context(listening);
        };
        let socket = self.given.swap_remove(index);
        socket.set_nonblocking(true).with_context(listening)?;
        TcpListener::from_std(socket).with_context(listening)
    }

    /// Refuses sockets at which nobody would ever answer: unit and drop-ins do not agree.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(socket) = self.given.first() {
            let address = socket.local_addr().context("read a socket's address")?;
            bail!("the unit listens on {address}, of which no drop-in says what it is");
        }
        Ok(())
    }
}
