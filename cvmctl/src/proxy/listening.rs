//! Listening sockets, and how a proxy ends.
//!
//! I/O: listens; waits for signals.

use std::time::Duration;

use anyhow::Context;
use attestation::tls::Nobody;
use attested_http::body::empty;
use attested_http::server::{Handshake, Limits, Unencrypted};
use attested_http::{Body, Peer, Server, Service};
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long requests under way have after a signal.
const DRAIN: Duration = Duration::from_secs(30);

/// What SIGTERM and SIGINT ask for.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("watch for signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Binds `address`: a host or an address with a port, or a port alone (`:8080`) for everybody.
pub(super) async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let whole = match address.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => address.to_owned(),
    };
    let listener = TcpListener::bind(&whole).await;
    listener.with_context(|| format!("listen on {address}"))
}

/// Binds the address for health checks, unless it is empty.
pub(super) async fn bind_health(address: &str) -> anyhow::Result<Option<TcpListener>> {
    match address {
        "" => Ok(None),
        address => bind(address).await.map(Some),
    }
}

/// The bounds of a proxy.
pub(super) fn limits() -> Limits {
    Limits {
        drain: DRAIN,
        ..Limits::default()
    }
}

/// Serves until a signal, then lets requests under way end; a second signal ends at once.
pub(super) async fn serve<C, H, S>(
    server: Server<C, H, S>,
    health: Option<TcpListener>,
    mut stop: Stop,
) -> anyhow::Result<()>
where
    C: Send + Sync + 'static,
    H: Handshake<C>,
    S: Service<C>,
{
    // Healthy as long as requests are served.
    let (ended, mut has_ended) = watch::channel(false);
    let health = health.map(|listener| {
        tokio::spawn(async move {
            let server =
                Server::<Nobody, _, _>::new(listener, Unencrypted, healthy, Limits::default());
            let over = async move {
                let _ = has_ended.wait_for(|ended| *ended).await;
            };
            drop(server.run(over, None, || {}).await);
        })
    });
    let counters = server.counters();
    let draining = server.run(stop.asked(), None, || {}).await;
    let connections = draining.connections();
    tracing::info!(connections, limit_s = DRAIN.as_secs(), "stopping");
    let cut = tokio::select! {
        cut = draining.finish() => cut,
        () = stop.asked() => {
            tracing::warn!("stopped at once");
            return Ok(());
        }
    };
    if cut.requests > 0 {
        tracing::warn!(cut.connections, cut.requests, "cut off");
    }
    tracing::info!(requests = counters.requests.now(), "stopped");
    ended.send_replace(true);
    if let Some(health) = health {
        let _ = health.await;
    }
    Ok(())
}

async fn healthy(_: Request<Body>, _: Peer<Nobody>) -> Response<Body> {
    Response::new(empty())
}
