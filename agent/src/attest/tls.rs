//! TLS as this server speaks it: 1.3 and 1.2, every connection a full handshake.
//!
//! I/O: none.

use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

use super::identity::Identity;

/// A configuration that proves `identity` in each handshake.
///
/// No tickets, no session ids, no early data: a resumed session would show a certificate that
/// was proven to somebody at some other time, and attested handshakes have to be fresh.
pub(super) fn server_config(identity: &Identity) -> anyhow::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .context("configure TLS")?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
