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

/// Reads the roots out of a PEM file; without one, the system's.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let path = file.unwrap_or(Path::new(SYSTEM));
    let context = || format!("read the trust roots in {}", path.display());
    let certificates: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_file_iter(path)
        .with_context(context)?
        .collect();
    let mut roots = RootCertStore::empty();
    let (_, unreadable) = roots.add_parsable_certificates(certificates.with_context(context)?);
    ensure!(
        !roots.is_empty(),
        "{} holds no usable certificate",
        path.display()
    );
    // One that we were given explicitly has to count.
    ensure!(
        file.is_none() || unreadable == 0,
        "{} holds {unreadable} certificates that can't be used as roots",
        path.display()
    );
    Ok(roots)
}

/// A client that trusts these roots and has no certificate of its own.
pub(crate) fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
