//! `cvm-agent attest`: serves this node's certificate over TLS, port 7936.
//!
//! The key and its certificate are made at start-up, live in memory and die with the process.
//! Left out here: evidence. A client learns the certificate, not whether to trust it.
//!
//! I/O: listens on a TCP socket; notifies systemd; handles SIGTERM and SIGINT.

mod admission;
mod connection;
mod identity;
mod limits;
mod routes;
mod server;
mod tls;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::identity::Identity;
use self::limits::Limits;
use self::server::Server;
use crate::notify::{self, Notifier};

/// `[::]` also takes IPv4 and is there before any address is, so nothing waits for the network.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7936);

/// What `cvm-agent attest` is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address and port to serve on
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_LISTEN)]
    listen: SocketAddr,

    /// DNS name or IP address to certify, besides localhost, 127.0.0.1 and ::1; repeatable
    #[arg(long = "name", value_name = "NAME", value_parser = parse_name)]
    names: Vec<ServerName<'static>>,
}

fn parse_name(name: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    ServerName::try_from(name.to_owned())
}

/// Serves until told to stop, then drains.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // One thread is enough: a handshake costs half a millisecond, there are at most a few hundred
    // connections, and one thread is less memory and a watchdog that sees every stall.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let notifier = Notifier::from_env().context("open NOTIFY_SOCKET")?;
    let stop = stop_signal().context("install signal handlers")?;

    let identity = Identity::generate(&args.names).context("make the identity")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let address = listener
        .local_addr()
        .context("read the listening address")?;
    let server = Server::new(listener, &identity, Limits::default())?;

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        certificate_sha256 = %identity.fingerprint(),
        "serving"
    );
    notifier.send(&format!("READY=1\nSTATUS=serving on {address}"));

    let watchdog = notify::watchdog_interval();
    let draining = server
        .run(stop, watchdog, || notifier.send("WATCHDOG=1"))
        .await;

    tracing::info!(connections = draining.connections(), "draining");
    notifier.send("STOPPING=1\nSTATUS=draining");
    let aborted = draining.finish().await;
    tracing::info!(aborted, "stopped");
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT. The handlers are in place when this returns.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
