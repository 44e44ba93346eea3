//! A certificate with its issuers, and the key, out of PEM files.
//!
//! I/O: none.

use anyhow::{Context, ensure};
use attestation::tls::Identity;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reads both. Whether they belong together is found out by who uses them.
///
/// # Errors
///
/// If either is not there, or not PEM.
pub(super) fn read(certificate: &[u8], key: &[u8]) -> anyhow::Result<Identity> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.context("read the certificate")?;
    ensure!(!chain.is_empty(), "the certificate's file has none");
    let key = PrivateKeyDer::from_pem_slice(key).context("read the certificate's key")?;
    Ok(Identity { chain, key })
}
