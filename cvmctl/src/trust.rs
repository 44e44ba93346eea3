//! The flags that say whom to trust, what to overlook, and where Intel's collateral comes from.
//!
//! Without any of them: Intel and Microsoft, nothing, and Intel.
//!
//! I/O: reads certificates, collateral and the system's roots; makes the cache's directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use attestation::fetch::{Clock, CollateralService, Pcs};
use attestation::{
    Collateral, CollateralSource, EvidenceVerifier, TcbPolicy, TcbStatus, TrustRoots, Verifier,
};
use clap::Args;
use clap::builder::BoolishValueParser;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::files;
use crate::judgement::CollateralPlace;

/// Largest certificate that is read.
const MAX_ROOT: u64 = 64 << 10;

/// Largest collateral that is read.
pub(crate) const MAX_COLLATERAL: u64 = 4 << 20;

/// Everything about trust, for commands that talk to machines.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArguments {
    #[command(flatten)]
    pub(crate) platform: PlatformArguments,

    #[command(flatten)]
    pub(crate) collateral: CollateralArguments,
}

/// What a platform must be like, and who vouches for it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Platforms")]
pub(crate) struct PlatformArguments {
    /// Accept this TCB status, too, such as OutOfDate; only UpToDate is accepted by itself
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub(crate) accept_tcb_status: Vec<TcbStatus>,

    /// Take Azure's v6 machines (FMSPC 90C06F000000) for up to date although their TDX loader has
    /// SVN 3, where Intel asks for more; for azure-tdx evidence only, and said wherever it is used
    #[arg(long, env = "OVERRIDE_AZUREV6_TCBINFO", value_parser = BoolishValueParser::new())]
    pub(crate) override_azurev6_tcbinfo: bool,

    /// DANGER: trust this certificate (PEM or DER) instead of Intel's; its owner can make any
    /// evidence. For tests and simulators
    #[arg(long, value_name = "FILE")]
    pub(crate) danger_trust_root: Option<PathBuf>,

    /// DANGER: trust this certificate instead of Microsoft's for keys of vTPMs; may be repeated
    /// [default with --danger-trust-root: none]
    #[arg(long, value_name = "FILE", requires = "danger_trust_root")]
    pub(crate) danger_trust_ak_root: Vec<PathBuf>,
}

/// Where Intel's judgement of platforms comes from. It need not be trusted: Intel has signed it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Intel's collateral")]
pub(crate) struct CollateralArguments {
    /// Ask this PCCS, by the part of its address before /sgx/ and /tdx/ [default: Intel's PCS]
    #[arg(long, value_name = "URL")]
    pub(crate) pccs_url: Option<String>,

    /// Use the collateral in this file (JSON) and ask nobody
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pccs_url", "cache_dir"])]
    pub(crate) collateral: Option<PathBuf>,

    /// Keep fetched collateral in this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// Whom a command trusts, and with what.
pub(crate) struct Trust {
    pub(crate) verifier: Verifier,
    pub(crate) roots: TrustRoots,
    pub(crate) tcb: TcbPolicy,
}

/// What verifies machines, where it has collateral from, and what is demanded of platforms.
pub(crate) struct Relying {
    pub(crate) verifier: EvidenceVerifier,
    pub(crate) collateral: CollateralSource,
    pub(crate) tcb: TcbPolicy,
}

impl TrustArguments {
    /// Reads what is in files, and says of whom the rest is asked, as of `clock`.
    pub(crate) fn load(&self, clock: Clock) -> anyhow::Result<Relying> {
        let trust = self.platform.load()?;
        let collateral = self.collateral.source(&trust.roots, Arc::clone(&clock))?;
        Ok(Relying {
            verifier: EvidenceVerifier::new(trust.verifier, collateral.clone(), clock),
            collateral,
            tcb: trust.tcb,
        })
    }
}

impl PlatformArguments {
    /// Reads the roots, if others than the real ones are given.
    pub(crate) fn load(&self) -> anyhow::Result<Trust> {
        let roots = match &self.danger_trust_root {
            Some(intel) => {
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
        let accepted = self.accept_tcb_status.iter().copied();
        Ok(Trust {
            verifier,
            roots,
            tcb: accepted.fold(TcbPolicy::up_to_date(), TcbPolicy::or),
        })
    }
}

impl CollateralArguments {
    /// Where collateral will be from, for people.
    pub(crate) fn place(&self) -> CollateralPlace {
        if let Some(path) = &self.collateral {
            return CollateralPlace::File(path.display().to_string());
        }
        let kept_in = self.cache_dir.as_ref();
        CollateralPlace::Service {
            service: match &self.pccs_url {
                Some(url) => url.clone(),
                None => "Intel".to_owned(),
            },
            kept_in: kept_in.map(|path| path.display().to_string()),
        }
    }

    /// A file's contents, or a service that is asked when collateral is needed.
    pub(crate) fn source(
        &self,
        roots: &TrustRoots,
        clock: Clock,
    ) -> anyhow::Result<CollateralSource> {
        if let Some(path) = &self.collateral {
            let collateral = Collateral::parse(&files::read(path, MAX_COLLATERAL)?)
                .with_context(|| format!("read the collateral in {}", path.display()))?;
            return Ok(CollateralSource::Given(Arc::new(collateral)));
        }
        let (pcs, tls) = match self.pccs_url.as_deref() {
            Some(url) if url.starts_with("http://") => {
                (Pcs::cache(url), client_of(RootCertStore::empty())?)
            }
            Some(url) => (Pcs::cache(url), system_tls()?),
            None => (Pcs::intel(), system_tls()?),
        };
        let mut service = CollateralService::new(pcs, tls, clock, roots.clone());
        if let Some(directory) = &self.cache_dir {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("make the directory {}", directory.display()))?;
            service = service.with_cache(directory.clone());
        }
        Ok(CollateralSource::Service(Arc::new(service)))
    }
}

/// TLS that trusts whom the system trusts: for collateral and published values, never for nodes.
pub(crate) fn system_tls() -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(
        !roots.is_empty(),
        "expected root certificates of this system, got none: install ca-certificates or set SSL_CERT_FILE"
    );
    client_of(roots)
}

fn client_of(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Reads one certificate, in DER or PEM.
fn root(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = files::read(path, MAX_ROOT)?;
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    let mut found = CertificateDer::pem_slice_iter(&bytes);
    let certificate = found
        .next()
        .transpose()
        .ok()
        .flatten()
        .with_context(|| format!("{} has no certificate, in PEM or DER", path.display()))?;
    ensure!(
        found.next().is_none(),
        "{} has several certificates, expected one",
        path.display()
    );
    Ok(certificate.to_vec())
}
