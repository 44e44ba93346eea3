//! The proxy to the hub: plain HTTP on loopback, forwarded over attested connections.
//!
//! The hub is who the image says: its name, for which one of the image's roots vouches. What this
//! machine is, the hub learns from evidence that is bound to the connection.
//!
//! I/O: reads the file of roots; opens sockets; looks names up.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use attestation::tls::{Connector, Dial, Http, NameCheck, Nobody, Timeouts};
use attested_http::client::{ClientSettings, Upstream};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use super::node::Node;
use crate::config::{Hub, HubProtocol, Roots};

/// Largest file of roots; Debian's has 220 kB.
const LARGEST_ROOTS: u64 = 4 << 20;

/// A client of the hub that shows `node`'s evidence on each connection.
pub(super) fn upstream(hub: &Hub, node: Arc<Node>) -> anyhow::Result<Upstream<Nobody>> {
    let host = hub.target.host();
    let name = ServerName::try_from(host.to_owned())
        .with_context(|| format!("the hub's name {host:?} is none that TLS can verify"))?;
    let roots = match &hub.roots {
        Roots::File(path) => read_roots(path)?,
        Roots::Pem(pem) => parse_roots(pem.as_bytes()).context("read hub.roots_pem")?,
    };
    let check = NameCheck::new(name, roots).context("prepare to verify the hub's name")?;
    let dial = match hub.protocol {
        HubProtocol::Atls => Dial::AtlsNamed(check),
        HubProtocol::Ratls => Dial::RatlsNamed(check),
    };
    let http = vec![Http::Http2, Http::Http1];
    let connector = Connector::<_, Nobody>::new(dial, Some(node), http, Timeouts::CLIENT);
    let connector = connector.context("prepare TLS to the hub")?;
    // Services of one machine; the unit's `LimitNOFILE=` and `MemoryMax=` have room for as many.
    let settings = ClientSettings {
        requests: 64,
        idle_connections: 8,
        ..ClientSettings::default()
    };
    Ok(Upstream::new(hub.target.clone(), connector, settings))
}

/// The certificates in a PEM file.
fn read_roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let opening = || format!("read the hub's roots, {}", path.display());
    let mut pem = Vec::new();
    let file = fs::File::open(path).with_context(opening)?;
    let length = file.take(LARGEST_ROOTS + 1).read_to_end(&mut pem);
    ensure!(
        length.with_context(opening)? as u64 <= LARGEST_ROOTS,
        "{} is larger than {LARGEST_ROOTS} bytes",
        path.display()
    );
    parse_roots(&pem).with_context(opening)
}

/// The certificates in a PEM text. One that cannot be read is not passed over in silence.
fn parse_roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!("there is no certificate");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn every_certificate_of_the_file_is_a_root() {
        let pem = |name: &str| {
            let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            certified.cert.pem()
        };
        let both = file((pem("a") + "a comment\n" + &pem("b")).as_bytes());
        assert_eq!(read_roots(both.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_usable_roots_is_refused_and_named() {
        let missing = read_roots(Path::new("/nowhere/roots.pem")).unwrap_err();
        assert!(format!("{missing:#}").contains("/nowhere/roots.pem"));
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let huge = vec![b'\n'; usize::try_from(LARGEST_ROOTS).unwrap() + 1];
        for content in [&b""[..], b"nothing", garbage, &huge] {
            let file = file(content);
            let error = format!("{:#}", read_roots(file.path()).unwrap_err());
            assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        }
    }
}
