//! The accept loop, and how it ends.
//!
//! I/O: accepts on the listening socket.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::admission::Admission;
use super::connection::Connection;
use super::identity::Identity;
use super::limits::Limits;
use super::routes::Phase;
use super::tls;

/// How often the loop turns when nothing happens and no watchdog asks for more.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// First and longest wait after the kernel could not give a socket.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A listening server that has not accepted anything yet.
pub(super) struct Server {
    incoming: Incoming,
    admission: Admission,
    connection: Connection,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
    /// Connections refused since this was last logged.
    refused: u64,
}

impl Server {
    pub(super) fn new(
        listener: TcpListener,
        identity: &Identity,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let (sender, phase) = watch::channel(Phase::Serving);
        Ok(Self {
            incoming: Incoming {
                listener,
                backoff: None,
            },
            admission: Admission::new(&limits),
            connection: Connection {
                tls: tls::server_config(identity)?,
                certificate: identity.pem(),
                limits,
                phase,
            },
            phase: sender,
            tasks: JoinSet::new(),
            refused: 0,
        })
    }

    /// Accepts and serves until `stop`, then closes the listening socket.
    ///
    /// `alive` is called at least three times per `watchdog` interval, and only from this loop:
    /// when the loop hangs, or anything else on this one thread does, the watchdog starves.
    pub(super) async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        watchdog: Option<Duration>,
        mut alive: impl FnMut(),
    ) -> Draining {
        let mut stop = pin!(stop);
        let mut turn = interval(watchdog.map_or(HOUSEKEEPING, |interval| interval / 3));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => break,
                (socket, peer) = self.incoming.next() => self.start(socket, peer),
                Some(_) = self.tasks.join_next() => {}
                _ = turn.tick() => {
                    alive();
                    self.log_refused();
                }
            }
        }
        self.log_refused();
        Draining {
            limits: self.connection.limits,
            phase: self.phase,
            tasks: self.tasks,
        }
    }

    fn start(&mut self, socket: TcpStream, peer: SocketAddr) {
        let Some(permit) = self.admission.admit(peer.ip()) else {
            // Closing is the cheapest answer; waiting would let the flood queue before others.
            self.refused += 1;
            return;
        };
        let connection = self.connection.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            // Answers are one small write each. Failing means that the peer is gone.
            let _ = socket.set_nodelay(true);
            connection.serve(socket).await;
        });
    }

    fn log_refused(&mut self) {
        if self.refused > 0 {
            tracing::warn!(connections = self.refused, "refused, too many are open");
            self.refused = 0;
        }
    }
}

/// A server that accepts nothing more and finishes what it has.
pub(super) struct Draining {
    limits: Limits,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

impl Draining {
    /// How many connections are open.
    pub(super) fn connections(&self) -> usize {
        self.tasks.len()
    }

    /// Ends all connections as gently as time allows; returns how many had to be cut.
    pub(super) async fn finish(mut self) -> usize {
        self.phase.send_replace(Phase::Draining);
        let notice = self.limits.notice.min(self.limits.drain);
        let _ = timeout(notice, all(&mut self.tasks)).await;

        self.phase.send_replace(Phase::Closing);
        let _ = timeout(self.limits.drain - notice, all(&mut self.tasks)).await;
        self.tasks.len()
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Accepted sockets, and patience when there are none to be had.
struct Incoming {
    listener: TcpListener,
    backoff: Option<Duration>,
}

impl Incoming {
    /// The next connection. May be cancelled: what it waits for then is tried at once.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.backoff = None;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {}
                // No descriptors or no memory: the pending connection stays pending, so trying
                // again at once would spin.
                Err(error) => {
                    if self.backoff.is_none() {
                        tracing::error!("accept: {error}");
                    }
                    let wait = self.backoff.unwrap_or(BACKOFF.0);
                    self.backoff = Some((wait * 2).min(BACKOFF.1));
                    sleep(wait).await;
                }
            }
        }
    }
}

/// Whether the error only says that one pending connection died, `accept(2)`.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}
