//! One connection: a handshake, then requests, each step with an end.
//!
//! I/O: reads and writes the accepted socket.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use attestation::tls::{Fault, HandshakeError, Http};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::activity::{Activity, Expired};
use super::counters::Counters;
use super::handshake::{Handshake, Opened};
use super::limits::Limits;
use super::requests::Requests;
use super::sniff::sniff;
use super::streams::Streams;
use super::watched::Watched;
use super::{Peer, Phase, Service};
use crate::causes::Causes;
use crate::stream::{BoxStream, Stream};

/// Most lines about handshakes between two turns of the server's loop.
const MOST_LINES: u64 = 10;

/// What every connection needs; cheap to clone.
pub(super) struct Connection<C, H, S> {
    shared: Arc<Shared<H, S>>,
    phase: watch::Receiver<Phase>,
    claims: PhantomData<fn() -> C>,
}

struct Shared<H, S> {
    handshake: H,
    service: Arc<S>,
    limits: Limits,
    counters: Arc<Counters>,
    /// Failed handshakes that were worth a line since the server's loop last turned.
    lines: AtomicU64,
}

impl<C, H, S> Clone for Connection<C, H, S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            phase: self.phase.clone(),
            claims: self.claims,
        }
    }
}

impl<C, H, S> Connection<C, H, S>
where
    C: Send + Sync + 'static,
    H: Handshake<C>,
    S: Service<C>,
{
    pub(super) fn new(
        handshake: H,
        service: S,
        limits: Limits,
        phase: watch::Receiver<Phase>,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Shared {
            handshake,
            service: Arc::new(service),
            limits,
            counters,
            lines: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            phase,
            claims: PhantomData,
        }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    pub(super) fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Lets failed handshakes be logged again, and says how many were not.
    pub(super) fn log_suppressed(&self) {
        let lines = self.shared.lines.swap(0, Ordering::Relaxed);
        let handshakes = lines.saturating_sub(MOST_LINES);
        if handshakes > 0 {
            tracing::warn!(handshakes, "more of them failed than were logged");
        }
    }

    /// Serves `socket` until the peer is done, a limit is reached or the server closes.
    pub(super) async fn serve(
        self,
        socket: TcpStream,
        address: SocketAddr,
        activity: Arc<Activity>,
    ) {
        let opening = async {
            let opened = self.shared.handshake.accept(socket, address.ip()).await;
            let opened = opened.map_err(|error| self.failed(address, &error)).ok()?;
            self.http(opened, &activity).await
        };
        let opened = tokio::select! {
            opened = opening => opened,
            () = activity.evicted() => return self.shared.counters.evicted.add(),
            // No request is under way yet.
            () = closing(self.phase.clone()) => None,
        };
        let Some((opened, http)) = opened else {
            return;
        };
        let requests = Requests {
            service: Arc::clone(&self.shared.service),
            peer: Peer {
                address,
                protocol: opened.protocol,
                is_encrypted: opened.is_encrypted,
                http,
                is_draining: false,
                verified: opened.peer.map(Arc::new),
            },
            activity: Arc::clone(&activity),
            counters: Arc::clone(&self.shared.counters),
            limits: self.shared.limits,
            phase: self.phase.clone(),
        };
        let stream = Watched::new(opened.stream, Arc::clone(&activity));
        match http {
            Http::Http1 => self.drive(self.http1(stream, requests), &activity).await,
            Http::Http2 => self.drive(self.http2(stream, requests), &activity).await,
        }
    }

    /// Which HTTP it will be.
    async fn http(&self, mut opened: Opened<C>, activity: &Activity) -> Option<(Opened<C>, Http)> {
        let http = match opened.http {
            Some(http) => http,
            None => {
                let limit = self.shared.limits.request_head;
                let Ok(sniffed) = timeout(limit, sniff(opened.stream)).await else {
                    self.shared.counters.idle.add();
                    return None;
                };
                let (http, stream) = sniffed.ok()?;
                opened.stream = Box::new(stream) as BoxStream;
                http
            }
        };
        activity.opened(http == Http::Http1);
        Some((opened, http))
    }

    /// Strangers' mistakes are counted only: anybody could fill the log with them. What an
    /// operator may have to know is logged, but not without end.
    fn failed(&self, address: SocketAddr, error: &HandshakeError) {
        let fault = error.fault();
        self.shared.counters.handshake_failed(fault);
        if !matches!(fault, Fault::Local | Fault::PeerIdentity) {
            tracing::debug!(%address, error = %Causes(error), "handshake failed");
            return;
        }
        if self.shared.lines.fetch_add(1, Ordering::Relaxed) >= MOST_LINES {
            return;
        }
        let error = Causes(error);
        match fault {
            Fault::Local => tracing::error!(%error, "handshake failed on this side"),
            _ => tracing::warn!(%address, %error, "peer refused"),
        }
    }

    fn http1<T: Stream + 'static>(
        &self,
        stream: T,
        requests: Requests<C, S>,
    ) -> http1::Connection<TokioIo<T>, Requests<C, S>> {
        let limits = &self.shared.limits;
        http1::Builder::new()
            .timer(TokioTimer::new())
            // What a connection waits for is watched by its activity.
            .header_read_timeout(None)
            .max_buf_size(limits.head_bytes.max(8192))
            .max_headers(limits.headers)
            .serve_connection(TokioIo::new(stream), requests)
    }

    fn http2<T: Stream + 'static>(
        &self,
        stream: T,
        requests: Requests<C, S>,
    ) -> http2::Connection<TokioIo<T>, Requests<C, S>, Streams> {
        let limits = &self.shared.limits;
        let http2 = &limits.http2;
        let streams = Streams::new(limits.stalled, Arc::clone(&self.shared.counters));
        http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(http2.streams)
            .initial_stream_window_size(http2.stream_window)
            .initial_connection_window_size(http2.connection_window)
            .max_send_buf_size(http2.send_buffer)
            .max_pending_accept_reset_streams(http2.resets)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(http2.ping)
            .keep_alive_timeout(http2.pong)
            .serve_connection(TokioIo::new(stream), requests)
    }

    /// Serves until the connection ends by itself, or has to.
    async fn drive(&self, connection: impl Served, activity: &Activity) {
        let limits = &self.shared.limits;
        let counters = &self.shared.counters;
        let born = Instant::now();
        let mut connection = pin!(connection);
        // When it is cut off, once it was asked to end.
        let mut end: Option<Instant> = None;
        loop {
            let lifetime = limits.lifetime.and_then(|limit| born.checked_add(limit));
            tokio::select! {
                // What breaks a connection is the peer's, or the network's.
                _ = connection.as_mut() => return,
                () = activity.evicted() => return counters.evicted.add(),
                () = at(end) => return,
                // Who has nothing under way may not answer the order to end, and need not.
                () = activity.quiet_for(limits.notice), if end.is_some() => return,
                () = closing(self.phase.clone()), if end.is_none() => {}
                () = at(lifetime), if end.is_none() => {}
                expired = activity.expired(limits), if end.is_none() => match expired {
                    Expired::Idle => counters.idle.add(),
                    Expired::Head => return counters.idle.add(),
                    Expired::Stalled => return counters.stalled.add(),
                },
            }
            connection.as_mut().ask_to_end();
            end = Instant::now().checked_add(limits.drain);
        }
    }
}

/// A connection that answers requests.
trait Served: Future<Output = hyper::Result<()>> {
    /// Lets it end what is under way, and nothing else.
    fn ask_to_end(self: Pin<&mut Self>);
}

impl<C, T, S> Served for http1::Connection<TokioIo<T>, Requests<C, S>>
where
    C: Send + Sync + 'static,
    T: Stream + 'static,
    S: Service<C>,
{
    fn ask_to_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<C, T, S> Served for http2::Connection<TokioIo<T>, Requests<C, S>, Streams>
where
    C: Send + Sync + 'static,
    T: Stream + 'static,
    S: Service<C>,
{
    fn ask_to_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Resolves when the server closes, or is gone.
async fn closing(mut phase: watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
