//! Certificates: the server's own, and those who vouch for others.
//!
//! I/O: reads certificates and keys; draws random numbers.

use std::path::Path;

use anyhow::{Context, ensure};
use attestation::tls::Identity;
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;

/// Largest file of certificates; systems' lists have some 200 kB.
const MAX_PEM: u64 = 4 << 20;

/// A server's certificate and key, as they are in files.
pub(super) fn read(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let chain = certificates(certificate)?;
    let pem = files::read(key, MAX_PEM)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("read a private key in {}", key.display()))?;
    Ok(Identity { chain, key })
}

/// A certificate that nobody vouches for: evidence is bound to its key, and says who has it.
pub(super) fn self_signed() -> anyhow::Result<Identity> {
    let key = KeyPair::generate().context("make a key")?;
    let params = CertificateParams::new(vec!["localhost".to_owned()]);
    let certificate = params
        .and_then(|params| params.self_signed(&key))
        .context("make a certificate")?;
    let key = PrivateKeyDer::try_from(key.serialize_der());
    Ok(Identity {
        chain: vec![certificate.der().clone()],
        key: key.map_err(anyhow::Error::msg).context("make a key")?,
    })
}

/// Those who vouch for names: in a file, or the system's.
pub(super) fn roots(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.with_context(|| format!("use a certificate in {}", path.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    ensure!(
        !roots.is_empty(),
        "expected root certificates of this system, got none: install ca-certificates, set \
         SSL_CERT_FILE, or give --tls-ca-certificate"
    );
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = files::read(path, MAX_PEM)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.with_context(|| format!("read certificates in {}", path.display()))?;
    ensure!(
        !found.is_empty(),
        "expected certificates (PEM) in {}, got none",
        path.display()
    );
    Ok(found)
}
