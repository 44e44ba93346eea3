//! `cvmctl proxy client`.
//!
//! I/O: listens and connects.

use anyhow::bail;
use attestation::tls::{Connector, Dial, NameCheck, Nobody, Timeouts};
use attestation::{Appraised, Appraiser};
use attested_http::Server;
use attested_http::client::{ClientSettings, Upstream};
use attested_http::forward::{ForwardSettings, Forwarder};
use attested_http::server::{Limits, Unencrypted};
use rustls::pki_types::ServerName;

use super::arguments::{ClientArguments, ProtocolChoice};
use super::quotes::{Quotes, Recorded};
use super::server::HTTP;
use super::{evidence, identity, listening, logging};

pub(super) async fn run(arguments: ClientArguments) -> anyhow::Result<()> {
    arguments.check()?;
    let log = &arguments.log;
    logging::start("proxy-client", log.log_json, log.log_debug);
    if arguments.server_attestation_type.is_some() {
        tracing::warn!(
            "--server-attestation-type is deprecated and has no effect: --server-measurements says who is trusted"
        );
    }
    let quotes = Quotes::new(arguments.machine.log_dcap_quote);
    let own = arguments.client_attestation_type;
    let attester = evidence::own(own, &arguments.machine, &quotes)?;
    let dial = dial(&arguments, &quotes)?;
    let connector = Connector::new(dial, attester, HTTP.to_vec(), Timeouts::CLIENT)?;

    let target = arguments.target_addr.clone();
    let upstream: Upstream<Appraised> = Upstream::new(target, connector, ClientSettings::default());
    let settings = ForwardSettings {
        // Clients are on this machine, and want to know.
        explains: true,
        request_body: None,
    };
    let service = Forwarder::new(upstream, settings);
    let stop = listening::Stop::new()?;
    let listener = listening::bind(&arguments.listen_addr).await?;
    let health = listening::bind_health(&arguments.listen_addr_healthcheck).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address acts as this machine");
    }
    tracing::info!(%address, target = %arguments.target_addr, "serving");
    let limits = listening::limits();
    let limits = Limits {
        // They all come from one address.
        connections_per_peer: limits.connections,
        ..limits
    };
    let server = Server::<Nobody, _, _>::new(listener, Unencrypted, service, limits);
    listening::serve(server, health, stop).await
}

/// What the server has to prove.
fn dial(arguments: &ClientArguments, quotes: &Quotes) -> anyhow::Result<Dial<Recorded<Appraiser>>> {
    let judge = arguments.server_measurements.as_deref();
    let judge = judge.map(|file| evidence::judge(file, &arguments.trust, quotes));
    let name = arguments.verify_tls.then(|| {
        let name = ServerName::try_from(arguments.target_addr.host().to_owned())?;
        let roots = identity::roots(arguments.tls_ca_certificate.as_deref())?;
        anyhow::Ok(NameCheck::new(name, roots)?)
    });
    Ok(
        match (arguments.protocol, judge.transpose()?, name.transpose()?) {
            (ProtocolChoice::Atls, Some(judge), None) => Dial::Atls(judge),
            (ProtocolChoice::Atls, None, Some(name)) => Dial::AtlsNamed(name),
            (ProtocolChoice::Ratls, Some(judge), None) => Dial::Ratls(judge),
            (ProtocolChoice::Ratls, None, Some(name)) => Dial::RatlsNamed(name),
            (ProtocolChoice::Ratls, Some(judge), Some(name)) => Dial::RatlsBoth(judge, name),
            (ProtocolChoice::Atls, Some(_), Some(_)) | (_, None, None) => {
                bail!("these flags do not go together")
            }
        },
    )
}
