//! The identity that is served, and its replacement while connections come.
//!
//! The boot makes the node's identity when it knows the node's names, and leaves it in a file that
//! only this service's user can read. Until then, and on a machine that has no boot, the identity
//! is one of this process's own: whoever verifies the node sees what it runs, and another
//! certificate later.
//!
//! I/O: reads the file that the drop-ins name.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use attestation::tls::limits::Bounds;
use attestation::tls::{Acceptor, Http, Nobody, ServerSettings, Timeouts};
use attested_http::server::Replaceable;
use hyper::body::Bytes;

use super::node::Node;
use crate::config::Attest;
use crate::identity::Identity;

/// Does handshakes with the identity of the moment.
pub(super) type Handshakes = Arc<Replaceable<Acceptor<Arc<Node>, Nobody>>>;

/// What is served, shared by all servers.
pub(super) struct Served {
    file: Option<PathBuf>,
    node: Arc<Node>,
    handshakes: Handshakes,
    now: RwLock<Now>,
}

struct Now {
    certificate: Bytes,
    fingerprint: String,
}

impl Served {
    /// Starts with what the boot has left, or else with an identity of its own.
    pub(super) fn start(settings: &Attest, node: Arc<Node>) -> anyhow::Result<Self> {
        let file = settings.identity.clone();
        let identity = match file.as_deref().and_then(left) {
            Some(identity) => identity,
            None => Identity::generate(&settings.names, None).context("make the identity")?,
        };
        let now = Now::of(&identity);
        Ok(Self {
            file,
            handshakes: Arc::new(Replaceable::new(acceptor(identity, &node)?)),
            now: RwLock::new(now),
            node,
        })
    }

    /// Takes up what the boot has left since.
    ///
    /// # Errors
    ///
    /// There is no file, or nothing in it to serve; what was served before still is.
    pub(super) fn reload(&self) -> anyhow::Result<()> {
        let file = self.file.as_deref();
        let identity = Identity::read(file.context("no file sets attest.identity")?)?;
        let now = Now::of(&identity);
        self.handshakes.replace(acceptor(identity, &self.node)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    pub(super) fn handshakes(&self) -> Handshakes {
        Arc::clone(&self.handshakes)
    }

    /// PEM.
    pub(super) fn certificate(&self) -> Bytes {
        self.with(|now| now.certificate.clone())
    }

    /// SHA-256 of the certificate's DER, lower-case hex.
    pub(super) fn fingerprint(&self) -> String {
        self.with(|now| now.fingerprint.clone())
    }

    fn with<T>(&self, read: impl FnOnce(&Now) -> T) -> T {
        read(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the boot has left, if it has. What cannot be read is as good as nothing, or the boot could not
/// reach the hub through this process, and would never make it good.
fn left(file: &Path) -> Option<Identity> {
    match Identity::read(file) {
        Ok(identity) => Some(identity),
        Err(error) if is_missing(&error) => None,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "an identity of its own is served instead");
            None
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref());
    kinds
        .map(std::io::Error::kind)
        .any(|kind| kind == ErrorKind::NotFound)
}

impl Now {
    fn of(identity: &Identity) -> Self {
        Self {
            certificate: identity.pem(),
            fingerprint: identity.fingerprint().to_owned(),
        }
    }
}

fn acceptor(identity: Identity, node: &Arc<Node>) -> anyhow::Result<Acceptor<Arc<Node>, Nobody>> {
    let settings = ServerSettings {
        identity: identity.into_tls(),
        attester: Some(Arc::clone(node)),
        verifier: None,
        http: vec![Http::Http2, Http::Http1],
        bounds: Bounds::default(),
        timeouts: Timeouts::SERVER,
    };
    Acceptor::new(settings).context("prepare TLS")
}
