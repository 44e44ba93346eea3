//! `cvmctl proxy server`.
//!
//! I/O: listens and connects.

use attestation::tls::limits::Bounds;
use attestation::tls::{Acceptor, HandshakeError, Http, Nobody, ServerSettings, Timeouts};
use attested_http::client::{ClientSettings, Named, Unsecured, Upstream};
use attested_http::forward::{ForwardSettings, Forwarder};
use attested_http::{Server, Target};
use rustls::pki_types::ServerName;

use super::arguments::{AttestationChoice, ServerArguments};
use super::quotes::Quotes;
use super::{evidence, identity, listening, logging};

/// The versions that are spoken, best first.
pub(super) const HTTP: [Http; 2] = [Http::Http2, Http::Http1];

pub(super) async fn run(arguments: ServerArguments) -> anyhow::Result<()> {
    arguments.check()?;
    let log = &arguments.log;
    logging::start("proxy-server", log.log_json, log.log_debug);
    if arguments.client_attestation_type.is_some() {
        tracing::warn!(
            "--client-attestation-type is deprecated and has no effect: --client-measurements says who is let through"
        );
    }
    let quotes = Quotes::new(arguments.machine.log_dcap_quote);
    let own = arguments.server_attestation_type;
    let attester = evidence::own(own, &arguments.machine, &quotes)?;
    let clients = arguments.client_measurements.as_deref();
    let clients = clients.map(|file| evidence::judge(file, &arguments.trust, &quotes));
    let clients = clients.transpose()?;
    if own == AttestationChoice::None && clients.is_none() {
        tracing::warn!("neither side proves anything: this is ordinary TLS");
    }
    let (certificate, key) = (
        &arguments.tls_certificate_path,
        &arguments.tls_private_key_path,
    );
    let identity = match certificate.as_deref().zip(key.as_deref()) {
        Some((certificate, key)) => identity::read(certificate, key)?,
        None => identity::self_signed()?,
    };
    let acceptor = Acceptor::new(ServerSettings {
        identity,
        attester,
        verifier: clients,
        http: HTTP.to_vec(),
        bounds: Bounds::default(),
        timeouts: Timeouts::SERVER,
    })?;

    let target = arguments.target_addr.clone();
    let settings = ForwardSettings {
        // Clients are strangers.
        explains: false,
        request_body: None,
    };
    let service = Forwarder::new(upstream(target)?, settings);
    let stop = listening::Stop::new()?;
    let listener = listening::bind(&arguments.listen_addr).await?;
    let health = listening::bind_health(&arguments.listen_addr_healthcheck).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, target = %arguments.target_addr, "serving");
    let server = Server::new(listener, acceptor, service, listening::limits());
    listening::serve(server, health, stop).await
}

/// The server behind this proxy, as ordinary clients reach it.
fn upstream(target: Target) -> anyhow::Result<Upstream<Nobody>> {
    let settings = ClientSettings::default();
    if !target.is_https() {
        return Ok(Upstream::new(target, Unsecured, settings));
    }
    let name = ServerName::try_from(target.host().to_owned())?;
    let named: Result<Named, HandshakeError> = Named::new(name, identity::roots(None)?, &HTTP);
    Ok(Upstream::new(target, named?, settings))
}
