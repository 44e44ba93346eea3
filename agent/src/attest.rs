//! `cvm-agent attest`: proves to anybody what this machine runs, and to the hub on its behalf.
//!
//! | address | speaks | answers |
//! |---|---|---|
//! | `[::]:7936` | both kinds of attested TLS, and ordinary TLS | `/cert`, `/healthz` |
//! | `127.0.0.1:14727` | HTTP | the same, to services on this machine |
//! | `127.0.0.1:7937` | HTTP | whatever the hub answers: all of it to root, to others what is opened |
//!
//! Left out: what the hub's answers mean.
//!
//! I/O: listens on TCP sockets; asks the TPM and the host for evidence; opens connections to the
//! hub; notifies systemd; handles SIGTERM, SIGINT, and SIGHUP (the boot has left another identity).

mod asker;
mod hub;
mod limits;
mod node;
mod routes;
mod served;
mod sockets;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use attestation::tls::Nobody;
use attested_http::forward::ForwardSettings;
use attested_http::server::{Draining, Handshake, Unencrypted};
use attested_http::{Body, Forwarder, Peer, Server, Service};
use attester::Settings;
use hyper::Request;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::asker::Askers;
use self::node::Node;
use self::served::Served;
use self::sockets::Sockets;
use crate::config::{self, Config};
use crate::notify::{self, Notifier};

/// What `cvm-agent attest` is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the image's drop-ins are
    #[arg(long, value_name = "DIR", default_value = config::DIRECTORY)]
    config: PathBuf,

    /// Below which directory the machine's /sys and /dev are
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The TPM: a device or the socket of a software TPM [default: ROOT/dev/tpmrm0]
    #[arg(long, value_name = "PATH")]
    tpm: Option<PathBuf>,

    /// Azure's metadata service
    #[arg(long, value_name = "URL", default_value = attester::azure::IMDS)]
    imds: String,
}

/// Serves until told to stop, then drains.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // One thread is enough: a handshake costs half a millisecond, there are at most a few hundred
    // connections, and one thread is less memory and a watchdog that sees every stall.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For what only blocks: the TPM, one at a time, and looking up names.
        .max_blocking_threads(8)
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(serve(args));
    // Without waiting for what blocks: a TPM or a name server that hangs must not hang the end.
    runtime.shutdown_background();
    result
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let config = Config::read(&args.config).context("read the configuration")?;
    let notifier = Notifier::from_env().context("open NOTIFY_SOCKET")?;
    let stop = stop_signal().context("install signal handlers")?;

    let reload = signal(SignalKind::hangup()).context("install signal handlers")?;
    let node = Arc::new(Node::new(config.attest.kind, args.into_settings()));
    let served = Arc::new(Served::start(&config.attest, node.clone())?);
    let mut sockets = Sockets::from_env()?;
    let proxy = match &config.hub {
        Some(hub) => {
            let listener = sockets.listen(hub.listen).await?;
            let askers = Askers::new(&hub.open, local_address(&listener)?);
            Some((listener, askers, hub::upstream(hub, node.clone())?))
        }
        None => None,
    };
    let local = sockets.listen(config.attest.local).await?;
    let public = sockets.listen(config.attest.listen).await?;
    sockets.finish()?;
    let address = local_address(&public)?;
    let proxy_address = proxy.as_ref().map(|(listener, ..)| local_address(listener));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        local = %local_address(&local)?,
        proxy = %proxy_address.transpose()?.map_or("none".to_owned(), |it| it.to_string()),
        hub = config.hub.as_ref().map_or("none", |hub| hub.target.host()),
        certificate_sha256 = %served.fingerprint(),
        "serving"
    );

    let public = Server::new(
        public,
        served.handshakes(),
        service(Arc::clone(&served)),
        limits::PUBLIC,
    );
    let certificates = service(Arc::clone(&served));
    let local = Server::<Nobody, _, _>::new(local, Unencrypted, certificates, limits::LOCAL);
    // Who asks is a service of this machine, which should know why the hub does not answer.
    let forward = ForwardSettings {
        explains: true,
        request_body: None,
    };
    let proxy = proxy.map(|(listener, askers, upstream)| {
        let forwarder = Forwarder::new(upstream, forward);
        Server::<Nobody, _, _>::new(
            listener,
            Unencrypted,
            guarded(Arc::new(askers), Arc::new(forwarder)),
            limits::LOCAL,
        )
    });

    notifier.send(&format!("READY=1\nSTATUS=serving on {address}"));
    let watchdog = notify::watchdog_interval();
    let notifier = Arc::new(notifier);
    tokio::spawn(reload_on(reload, served, Arc::clone(&notifier)));
    // Beside everything else: a metadata service that is down takes a minute to be given up.
    tokio::spawn(async move { node.look().await });
    let (public, local, proxy) = tokio::join!(
        public.run(stopped(stop.clone()), watchdog, || notifier
            .send("WATCHDOG=1")),
        run_beside(Some(local), stop.clone()),
        run_beside(proxy, stop),
    );

    let draining: Vec<Draining> = [Some(public), local, proxy].into_iter().flatten().collect();
    let connections: usize = draining.iter().map(Draining::connections).sum();
    tracing::info!(connections, "draining");
    notifier.send("STOPPING=1\nSTATUS=draining");
    let mut cut = 0;
    let finishing: Vec<_> = draining
        .into_iter()
        .map(|it| tokio::spawn(it.finish()))
        .collect();
    for finishing in finishing {
        cut += finishing.await.context("drain")?.connections;
    }
    tracing::info!(cut, "stopped");
    Ok(())
}

impl Args {
    fn into_settings(self) -> Settings {
        Settings {
            root: self.root,
            imds: self.imds,
            tpm: self.tpm,
        }
    }
}

fn local_address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("read the listening address")
}

/// Answers requests for the certificate.
fn service(served: Arc<Served>) -> impl Service<Nobody> {
    move |request: Request<Body>, peer: Peer<Nobody>| {
        let response = routes::respond(&request, &served.certificate(), peer.is_draining);
        async { response }
    }
}

/// Passes on what whoever asks may have.
fn guarded(askers: Arc<Askers>, forwarder: Arc<Forwarder<Nobody>>) -> impl Service<Nobody> {
    move |request: Request<Body>, peer: Peer<Nobody>| {
        let refusal = askers.refuse(&request, peer.address);
        let forwarder = Arc::clone(&forwarder);
        async move {
            match refusal {
                Some(refusal) => refusal,
                None => forwarder.forward(request, peer).await,
            }
        }
    }
}

/// Takes up the identity that the boot has left, each time it says so.
async fn reload_on(mut signals: Signal, served: Arc<Served>, notifier: Arc<Notifier>) {
    while signals.recv().await.is_some() {
        notifier.send(&notify::reloading());
        match served.reload() {
            Ok(()) => tracing::info!(
                certificate_sha256 = %served.fingerprint(),
                "serving another certificate"
            ),
            Err(error) => tracing::error!(
                error = %format_args!("{error:#}"),
                "no other certificate is served: the former stays"
            ),
        }
        notifier.send("READY=1");
    }
}

/// Runs a server if there is one; the public one's loop is what the watchdog watches, on the same
/// thread.
async fn run_beside<H: Handshake<Nobody>, S: Service<Nobody>>(
    server: Option<Server<Nobody, H, S>>,
    stop: watch::Receiver<bool>,
) -> Option<Draining> {
    match server {
        Some(server) => Some(server.run(stopped(stop), None, || {}).await),
        None => None,
    }
}

/// Turns true at the first SIGTERM or SIGINT. The handlers are in place when this returns.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(stop)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // The sender is gone only with the runtime.
        pending::<()>().await;
    }
}
