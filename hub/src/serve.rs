//! `builderhub serve`.
//!
//! I/O: the listening sockets, the database, the files that options name, signals.

mod attested;
mod identity;
mod mutual;
mod options;
mod reload;
mod secret_keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use attestation::tls::Nobody;
use attested_http::Server;
use attested_http::server::{Handshake, Limits, Unencrypted};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin_auth::AdminAuth;
use crate::configuration::Sources;
use crate::database::Database;
use crate::event_log::EventLog;
use crate::front;
use crate::hub::{Hub, Settings};
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::records::events::Prune;
use crate::required::Required;
use crate::routes::Listener;
use crate::text;
pub(crate) use options::{DatabaseArguments, ServeArguments};
use reload::Reload;

/// How often what is too old is looked for.
const PRUNING: Duration = Duration::from_secs(3600);

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    arguments.check()?;
    let admin = admin(&arguments)?;
    let required = required(&arguments.required_keys)?;
    let location = arguments.database.location();
    // After what is only read: this may make a file.
    let keys = arguments.secret_keys.keys(location).await?;
    let ca = arguments.database.postgres_ca.as_deref();
    let connections = arguments.database.connections;
    let database = Database::open(location, ca, connections).await?;
    let minute = Duration::from_secs(60);
    let hub = Arc::new(Hub {
        events: EventLog::start(database.clone()),
        sources: Sources { keys, required },
        settings: Settings {
            trusts_headers: arguments.trust_proxy_headers,
            accepts_any_measurement: arguments.danger_accept_any_measurement,
            certificates: arguments.certificates,
            drain: Duration::from_secs(arguments.drain_seconds),
        },
        admin,
        node_limit: Limiter::new(arguments.node_requests_per_minute, minute),
        admin_limit: Limiter::new(arguments.admin_failures_per_minute, minute),
        metrics: Metrics::default(),
        is_ready: AtomicBool::new(true),
        database,
    });
    let mutual = arguments.mutual.read()?;
    let front = attested::Front::new(&arguments.attested).await?;
    let mut reloads: Vec<Arc<dyn Reload>> = Vec::new();
    reloads.extend(mutual.iter().map(|mutual| Arc::clone(mutual) as _));
    reloads.extend(front.iter().map(|front| front.reloaded() as _));
    let mut servers = JoinSet::new();
    // Before anything is announced: who reads that it listens may stop it at once.
    let stop = stop_signal(Arc::clone(&hub))?;
    if !reloads.is_empty() {
        let hangup = signal(SignalKind::hangup()).context("wait for SIGHUP")?;
        let interval = Duration::from_secs(arguments.tls_reload_seconds);
        let watch = reload::watch(reloads, hangup, interval, stopped(stop.clone()));
        servers.spawn(watch);
    }
    // All sockets before any request: a port that is taken is found out at once.
    let mut sockets = Vec::new();
    for (listener, address) in arguments.listeners() {
        let socket = TcpListener::bind(address).await;
        let socket =
            socket.with_context(|| format!("listen for {} at {address}", listener.name()))?;
        announce(
            listener,
            socket.local_addr().context("read the socket's address")?,
        );
        sockets.push((listener, socket));
    }
    for (listener, socket) in sockets {
        let (hub, stop) = (Arc::clone(&hub), stop.clone());
        match &mutual {
            Some(mutual) if listener == Listener::Main => {
                let limits = Limits {
                    lifetime: Some(mutual::LIFETIME),
                    ..limits()
                };
                let handshake = mutual.handshake();
                servers.spawn(serve(hub, listener, socket, handshake, limits, stop));
            }
            _ => {
                servers.spawn(serve(hub, listener, socket, Unencrypted, limits(), stop));
            }
        }
    }
    if let Some(front) = front {
        announce(Listener::Attested, front.address()?);
        servers.spawn(front.serve(Arc::clone(&hub), limits(), stopped(stop.clone())));
    }
    let retention = Duration::from_secs(arguments.retention_days.saturating_mul(86_400));
    servers.spawn(prune(Arc::clone(&hub), retention, stop));
    while let Some(ended) = servers.join_next().await {
        ended.context("serve")?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// One line for each listener on standard output: with port 0, this is how to learn the port.
fn announce(listener: Listener, address: SocketAddr) {
    println!("listening {} {address}", listener.name());
}

async fn serve(
    hub: Arc<Hub>,
    listener: Listener,
    socket: TcpListener,
    handshake: impl Handshake<Nobody>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let service = front::Plain { hub, listener };
    let server = Server::<Nobody, _, _>::new(socket, handshake, service, limits);
    let draining = server.run(stopped(stop), None, || {}).await;
    let cut = draining.finish().await;
    if cut.requests > 0 {
        tracing::warn!(
            requests = cut.requests,
            listener = listener.name(),
            "cut off at the stop"
        );
    }
}

/// One proxy or one company's address may be all there is in front.
fn limits() -> Limits {
    let connections = 16_384;
    Limits {
        connections,
        connections_per_peer: connections,
        head_bytes: 96 << 10,
        notice: Duration::from_millis(100),
        drain: Duration::from_secs(20),
        ..Limits::default()
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody can say it any more, which says it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Becomes true at SIGTERM or SIGINT; from then on the hub isn't ready.
fn stop_signal(hub: Arc<Hub>) -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        hub.set_ready(false);
        tracing::info!("stopping");
        sender.send_replace(true);
    });
    Ok(stop)
}

/// Deletes what is too old, as long as the hub runs.
async fn prune(hub: Arc<Hub>, retention: Duration, stop: watch::Receiver<bool>) {
    let forever = async {
        let mut turn = tokio::time::interval(PRUNING);
        loop {
            turn.tick().await;
            let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
            let before = text::now().saturating_sub(retention);
            loop {
                match hub.database.write(&Prune { before }).await {
                    Ok(0) => break,
                    Ok(deleted) => tracing::info!(deleted, "deleted what was too old"),
                    Err(error) => {
                        let error = crate::reply::causes(&error);
                        tracing::warn!(error, "what is too old could not be deleted");
                        break;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = forever => {}
        () = stopped(stop) => {}
    }
}

fn admin(arguments: &ServeArguments) -> anyhow::Result<Option<AdminAuth>> {
    if arguments.disable_admin_auth {
        tracing::warn!("anybody who reaches the admin listener is the admin");
        return Ok(None);
    }
    let hash = match (
        &arguments.admin_basic_password_bcrypt,
        &arguments.admin_password_file,
    ) {
        (Some(hash), None) => hash.clone(),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("read {}", path.display()))?
                .trim()
                .to_owned()
        }
        _ => bail!(
            "the admin API needs a password: give --admin-password-file with a bcrypt hash, \
             or --disable-admin-auth with a loopback --admin-addr"
        ),
    };
    AdminAuth::new(arguments.admin_basic_user.clone(), hash).map(Some)
}

fn required(name: &str) -> anyhow::Result<Required> {
    if let Some(list) = Required::built_in(name) {
        return Ok(list);
    }
    let context = || format!("read the required keys in {name}");
    let text = std::fs::read_to_string(name).with_context(context)?;
    let list = serde_json::from_str(&text).with_context(context)?;
    Required::parse(list)
        .map_err(anyhow::Error::msg)
        .with_context(context)
}
