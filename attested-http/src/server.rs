//! A server: accepts connections, has them prove what they have to, and answers HTTP on them.
//!
//! [`Server::run`] accepts until it is told to stop; [`Draining::finish`] then lets what is under way
//! end. Each connection is a task with an end to everything it waits for, see [`Limits`], and its
//! place may go to somebody who has fewer. What strangers do wrong is counted, see [`Counters`].
//!
//! I/O: accepts on the listening socket; reads and writes what it accepts.

mod activity;
mod admission;
mod connection;
mod counters;
mod handshake;
mod incoming;
mod limits;
mod requests;
mod sniff;
mod streams;
mod watched;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use attestation::tls::{Http, Protocol, VerifiedPeer};
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::activity::Activity;
use self::admission::Admission;
use self::connection::Connection;
pub use self::counters::{Count, Counters, Open};
pub use self::handshake::{Accepting, Handshake, Opened, Replaceable, Unencrypted};
use self::incoming::Incoming;
pub use self::limits::{Http2Limits, Limits};
use crate::body::Body;

/// How often the loop turns when nothing happens and no watchdog asks for more.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Who sends a request.
#[derive(Debug)]
pub struct Peer<C> {
    /// Where from.
    pub address: SocketAddr,
    /// How the connection was made.
    pub protocol: Protocol,
    /// Whether it is TLS; if not, [`protocol`](Self::protocol) says nothing.
    pub is_encrypted: bool,
    /// Which HTTP it speaks.
    pub http: Http,
    /// Whether the server is about to stop.
    pub is_draining: bool,
    /// What it has proven; always there if the server's handshake verifies.
    pub verified: Option<Arc<VerifiedPeer<C>>>,
}

impl<C> Clone for Peer<C> {
    fn clone(&self) -> Self {
        Self {
            verified: self.verified.clone(),
            ..*self
        }
    }
}

/// Answers requests. Also any function of a request and a [`Peer`].
pub trait Service<C>: Send + Sync + 'static {
    /// Answers one. Dropped when the peer is gone.
    fn call(
        &self,
        request: Request<Body>,
        peer: Peer<C>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl<C, F, A> Service<C> for F
where
    F: Fn(Request<Body>, Peer<C>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    fn call(
        &self,
        request: Request<Body>,
        peer: Peer<C>,
    ) -> impl Future<Output = Response<Body>> + Send {
        self(request, peer)
    }
}

/// What the server is doing; only ever moves down this list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Accepts and answers.
    Serving,
    /// Accepts nothing more; an open connection gets one more answer.
    Draining,
    /// Only requests under way are answered.
    Closing,
}

/// A listening server that has not accepted anything yet.
pub struct Server<C, H, S> {
    incoming: Incoming,
    admission: Admission,
    connection: Connection<C, H, S>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
    /// Connections refused or cut off for others when this was last logged.
    told: u64,
}

impl<C, H, S> Server<C, H, S>
where
    C: Send + Sync + 'static,
    H: Handshake<C>,
    S: Service<C>,
{
    /// Serves what `listener` accepts and `handshake` lets through.
    pub fn new(listener: TcpListener, handshake: H, service: S, limits: Limits) -> Self {
        let (sender, phase) = watch::channel(Phase::Serving);
        let counters = Arc::<Counters>::default();
        Self {
            incoming: Incoming::new(listener),
            admission: Admission::new(&limits),
            connection: Connection::new(handshake, service, limits, phase, counters),
            phase: sender,
            tasks: JoinSet::new(),
            told: 0,
        }
    }

    /// What happens, in numbers.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.connection.counters())
    }

    /// Accepts and serves until `stop`, then closes the listening socket.
    ///
    /// `alive` is called at least three times per `watchdog` interval, and only from this loop:
    /// when the loop hangs, or anything else on its thread does, the watchdog starves.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        watchdog: Option<Duration>,
        mut alive: impl FnMut(),
    ) -> Draining {
        let mut stop = pin!(stop);
        let turn = watchdog.and_then(|interval| interval.checked_div(3));
        let mut turn = interval(turn.filter(|turn| !turn.is_zero()).unwrap_or(HOUSEKEEPING));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => break,
                (socket, address) = self.incoming.next() => self.start(socket, address),
                Some(_) = self.tasks.join_next() => {}
                _ = turn.tick() => {
                    alive();
                    self.log_refused();
                }
            }
        }
        self.log_refused();
        Draining {
            limits: self.connection.limits(),
            counters: self.counters(),
            phase: self.phase,
            tasks: self.tasks,
        }
    }

    fn start(&mut self, socket: TcpStream, address: SocketAddr) {
        let counters = self.connection.counters();
        counters.accepted.add();
        let activity = Activity::new();
        let Some(permit) = self.admission.admit(address.ip(), &activity) else {
            // Closing is the cheapest answer; waiting would let the flood queue before others.
            counters.refused.add();
            return;
        };
        let open = counters.connections.enter();
        let connection = self.connection.clone();
        self.tasks.spawn(async move {
            let _held = (permit, open);
            // Answers are small writes, mostly. Failing means that the peer is gone.
            let _ = socket.set_nodelay(true);
            connection.serve(socket, address, activity).await;
        });
    }

    fn log_refused(&mut self) {
        let counters = self.connection.counters();
        let all = counters
            .refused
            .now()
            .saturating_add(counters.evicted.now());
        let connections = all.saturating_sub(self.told);
        if connections > 0 {
            tracing::warn!(connections, "refused or cut off, too many are open");
        }
        self.told = all;
        self.connection.log_suppressed();
    }
}

/// A server that accepts nothing more and finishes what it has.
#[must_use = "dropping it cuts all connections off"]
pub struct Draining {
    limits: Limits,
    counters: Arc<Counters>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

/// What was under way when there was no time left.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cut {
    /// Connections that were open.
    pub connections: usize,
    /// Requests on them whose answer had not ended.
    pub requests: u64,
}

impl Draining {
    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.tasks.len()
    }

    /// Ends all connections as gently as [`Limits::notice`] and [`Limits::drain`] allow, and says
    /// what had to be cut.
    pub async fn finish(mut self) -> Cut {
        self.phase.send_replace(Phase::Draining);
        let notice = self.limits.notice.min(self.limits.drain);
        let _ = timeout(notice, all(&mut self.tasks)).await;

        self.phase.send_replace(Phase::Closing);
        let rest = self.limits.drain.saturating_sub(notice);
        let _ = timeout(rest, all(&mut self.tasks)).await;
        let cut = Cut {
            connections: self.tasks.len(),
            requests: self.counters.requests_open.now(),
        };
        self.tasks.shutdown().await;
        cut
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
