//! Whom a TLS client trusts.
//!
//! I/O: reads the file that it is told, or the system's.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Where Debian and others keep the certificates that the system trusts.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Reads the roots out of a PEM file, all of which have to be good; without one, the system's.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let path = file.unwrap_or(Path::new(SYSTEM));
    let context = || format!("read the trust roots in {}", path.display());
    let pem = std::fs::read(path).with_context(context)?;
    match file {
        Some(_) => parse(&pem).with_context(context),
        None => {
            let (roots, _) = usable(&pem).with_context(context)?;
            Ok(roots)
        }
    }
}

/// Reads roots in PEM; one that was given explicitly has to count.
pub(crate) fn parse(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let (roots, unusable) = usable(pem)?;
    ensure!(
        unusable == 0,
        "{unusable} certificates can't be used as roots"
    );
    Ok(roots)
}

/// The roots, and how many others there are.
fn usable(pem: &[u8]) -> anyhow::Result<(RootCertStore, usize)> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(certificates?);
    ensure!(!roots.is_empty(), "there is no usable certificate");
    Ok((roots, unusable))
}

/// A client that trusts these roots and has no certificate of its own.
pub(crate) fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
