//! The attested front: nodes prove what they are on the connection itself.
//!
//! A client shows evidence in its TLS handshake, in either of the library's protocols. What counts is
//! verified: the kind of machine and its registers from the evidence, its address from the
//! connection. Headers are not looked at. Whether the measurement is active is asked of the database
//! for each request, so that deactivating one takes effect at once, also on open connections.
//!
//! The hub itself proves its name by an ordinary certificate, which is read again when it changes.
//!
//! I/O: the listening socket; reads certificates, keys and collateral; fetches collateral.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use attestation::fetch::{Clock, CollateralService, Pcs};
use attestation::tls::limits::{Bounds, Rate};
use attestation::tls::{
    Acceptor, BoxError, Http, Nobody, PeerVerifier, ServerSettings, Shown, Timeouts,
};
use attestation::{
    Collateral, CollateralSource, EvidenceVerifier, Proven, TcbPolicy, TcbStatus, TrustRoots,
    Verifier,
};
use attested_http::server::Limits;
use attested_http::{Body, Peer, Server, Service};
use clap::Args;
use hyper::Request;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpListener;

use super::identity;
use super::reload::Reloaded;
use crate::front;
use crate::hub::Hub;
use crate::node::NodeIdentity;
use crate::reply::Reply;
use crate::routes::Listener;

/// Whom to believe, and where Intel's judgement comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Attested TLS")]
pub(crate) struct AttestedArguments {
    /// For nodes that prove what they are on the connection
    #[arg(long, value_name = "ADDRESS", requires_all = ["tls_certificate", "tls_key"],
        value_parser = crate::options::address)]
    atls_listen: Option<SocketAddr>,

    /// The hub's own certificate, then its issuers, as PEM
    #[arg(long, value_name = "FILE", requires = "atls_listen")]
    tls_certificate: Option<PathBuf>,

    /// The certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "atls_listen")]
    tls_key: Option<PathBuf>,

    /// Accept this TCB status, too, such as OutOfDate; only UpToDate is accepted by itself
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    accept_tcb_status: Vec<TcbStatus>,

    /// Take Azure's v6 machines for up to date although Intel asks more of their TDX loader
    #[arg(long)]
    override_azurev6_tcbinfo: bool,

    /// Ask this PCCS for collateral, by the part of its address before /sgx/ and /tdx/ (default:
    /// Intel's PCS)
    #[arg(long, value_name = "URL")]
    pccs_url: Option<String>,

    /// Use the collateral in this file (JSON) and ask nobody
    #[arg(long, value_name = "FILE", conflicts_with = "pccs_url")]
    collateral: Option<PathBuf>,

    /// Keep fetched collateral in this directory, too
    #[arg(long, value_name = "DIR")]
    collateral_cache: Option<PathBuf>,

    /// DANGER: trust this certificate instead of Intel's; its owner can make any evidence
    #[arg(long, value_name = "FILE")]
    danger_trust_root: Option<PathBuf>,

    /// DANGER: trust this certificate instead of Microsoft's for keys of vTPMs; may be repeated
    #[arg(long, value_name = "FILE", requires = "danger_trust_root")]
    danger_trust_ak_root: Vec<PathBuf>,
}

/// A listening socket and what does its handshakes.
pub(super) struct Front {
    socket: TcpListener,
    acceptor: Arc<Reloaded<Acceptor<Nobody, Genuine>, 2>>,
}

impl Front {
    /// Reads what the options name and listens; `None` if they don't want it.
    pub(super) async fn new(arguments: &AttestedArguments) -> anyhow::Result<Option<Self>> {
        let (Some(address), Some(certificate), Some(key)) = (
            arguments.atls_listen,
            &arguments.tls_certificate,
            &arguments.tls_key,
        ) else {
            return Ok(None);
        };
        let verifier = arguments.verifier()?;
        let acceptor = move |[certificate, key]: &[Vec<u8>; 2]| {
            let settings = ServerSettings {
                identity: identity::read(certificate, key)?,
                attester: None,
                verifier: Some(verifier.clone()),
                http: vec![Http::Http2, Http::Http1],
                bounds: bounds(),
                timeouts: Timeouts::SERVER,
            };
            Ok(Acceptor::new(settings)?)
        };
        let files = [certificate.clone(), key.clone()];
        let acceptor = Reloaded::new("attested TLS", files, acceptor)?;
        let socket = TcpListener::bind(address).await;
        let socket = socket.with_context(|| format!("listen for attested at {address}"))?;
        let acceptor = Arc::new(acceptor);
        Ok(Some(Self { socket, acceptor }))
    }

    /// What is read again when it changes.
    pub(super) fn reloaded(&self) -> Arc<Reloaded<Acceptor<Nobody, Genuine>, 2>> {
        Arc::clone(&self.acceptor)
    }

    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.socket
            .local_addr()
            .context("read the socket's address")
    }

    /// Serves until `stop`, then lets what is under way end.
    pub(super) async fn serve(self, hub: Arc<Hub>, limits: Limits, stop: impl Future<Output = ()>) {
        // Behind one company's address there may be many nodes, but not all of them.
        let connections_per_peer = limits.connections / 4;
        let limits = Limits {
            connections_per_peer,
            ..limits
        };
        let handshake = self.acceptor.handshake();
        let server = Server::<Proven, _, _>::new(self.socket, handshake, Attested(hub), limits);
        let cut = server.run(stop, None, || {}).await.finish().await;
        if cut.requests > 0 {
            tracing::warn!(requests = cut.requests, "cut off at the stop");
        }
    }
}

/// Clients show evidence and the hub shows none, so that a handshake costs no TPM.
fn bounds() -> Bounds {
    let [rate, burst] = [10_000, 10_000].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
    let all = Rate::new(rate, burst.get());
    Bounds {
        evidence_at_once: 64,
        evidence: all,
        evidence_per_peer: all,
        ..Bounds::default()
    }
}

/// Answers nodes by what they have proven.
struct Attested(Arc<Hub>);

impl Service<Proven> for Attested {
    async fn call(&self, request: Request<Body>, peer: Peer<Proven>) -> Reply {
        let address = peer.address.ip().to_canonical();
        let verified = peer.verified.as_ref().map(|peer| &peer.claims().verified);
        let identity = verified.map(|verified| NodeIdentity::verified(verified, address));
        front::respond(&self.0, Listener::Attested, request, address, identity).await
    }
}

/// Verifies that a peer is a genuine machine of an accepted TCB, whatever it runs.
///
/// Shared by all acceptors, so that a new certificate doesn't mean new collateral.
#[derive(Clone)]
pub(super) struct Genuine {
    evidence: Arc<EvidenceVerifier>,
    tcb: Arc<TcbPolicy>,
}

/// A genuine machine is not up to date.
#[derive(Debug, thiserror::Error)]
#[error("the machine's TCB status is {0:?}, which is not accepted")]
struct Outdated(TcbStatus);

impl PeerVerifier for Genuine {
    type Claims = Proven;

    async fn verify(&self, shown: Shown<'_>) -> Result<Proven, BoxError> {
        let proven = self.evidence.verify(shown).await?;
        let status = proven.verified.tcb().status;
        if self.tcb.accepts(status) {
            Ok(proven)
        } else {
            Err(Outdated(status).into())
        }
    }
}

impl AttestedArguments {
    fn verifier(&self) -> anyhow::Result<Genuine> {
        let roots = match &self.danger_trust_root {
            Some(intel) => {
                tracing::warn!("trusting other roots than Intel's and Microsoft's");
                let azure = self.danger_trust_ak_root.iter().map(|path| root(path));
                TrustRoots::danger_trust_instead(root(intel)?, azure.collect::<Result<_, _>>()?)
            }
            None => TrustRoots::pinned(),
        };
        let verifier = Verifier::new(roots.clone());
        let verifier = match self.override_azurev6_tcbinfo {
            true => verifier.with_azure_v6_tcb_override(),
            false => verifier,
        };
        let clock: Clock = Arc::new(|| UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs()));
        let collateral = self.collateral(roots, Arc::clone(&clock))?;
        let accepted = self.accept_tcb_status.iter().copied();
        Ok(Genuine {
            evidence: Arc::new(EvidenceVerifier::new(verifier, collateral, clock)),
            tcb: Arc::new(accepted.fold(TcbPolicy::up_to_date(), TcbPolicy::or)),
        })
    }

    fn collateral(&self, roots: TrustRoots, clock: Clock) -> anyhow::Result<CollateralSource> {
        if let Some(path) = &self.collateral {
            let context = || format!("read the collateral in {}", path.display());
            let json = std::fs::read(path).with_context(context)?;
            let collateral = Collateral::parse(&json).with_context(context)?;
            return Ok(CollateralSource::Given(Arc::new(collateral)));
        }
        let pcs = self.pccs_url.as_deref().map_or_else(Pcs::intel, Pcs::cache);
        let tls = crate::roots::client_config(crate::roots::read(None)?)?;
        let mut service = CollateralService::new(pcs, Arc::new(tls), clock, roots);
        if let Some(directory) = &self.collateral_cache {
            let made = std::fs::create_dir_all(directory);
            made.with_context(|| format!("make the directory {}", directory.display()))?;
            service = service.with_cache(directory.clone());
        }
        Ok(CollateralSource::Service(Arc::new(service)))
    }
}

/// Reads one certificate, in DER or PEM.
fn root(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    let certificate = CertificateDer::from_pem_slice(&bytes);
    let certificate = certificate.with_context(|| format!("read {}", path.display()))?;
    Ok(certificate.to_vec())
}
