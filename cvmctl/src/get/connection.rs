//! Connects to the node and has it show evidence, for a nonce or a session that is new.
//!
//! I/O: network.

use std::time::Duration;

use anyhow::{Context, bail};
use attestation::tls::{
    BoxError, Connected, Connector, Dial, HandshakeError, Http, Nobody, PeerVerifier,
    ProtocolError, Shown, Timeouts,
};
use attestation::{Binding, EvidenceKind, EvidenceVerifier, Proven};
use rustls::pki_types::UnixTime;
use tokio::net::TcpStream;

use super::request::{Node, ProtocolChoice, Request};
use crate::http;

/// Has evidence verified and keeps it, whatever comes of it: what is refused is worth keeping, too.
/// Who uses it must look at [`Witnessed::proof`] before anything is said to the peer.
#[derive(Clone)]
pub(super) struct Witness(pub(super) EvidenceVerifier);

/// What was shown, and what it proves.
pub(super) struct Witnessed {
    pub(super) kind: EvidenceKind,
    pub(super) document: Vec<u8>,
    pub(super) binding: Binding,
    pub(super) proof: Result<Proven, BoxError>,
}

impl PeerVerifier for Witness {
    type Claims = Witnessed;

    async fn verify(&self, shown: Shown<'_>) -> Result<Witnessed, BoxError> {
        Ok(Witnessed {
            kind: shown.kind,
            document: shown.document.to_vec(),
            binding: shown.binding.clone(),
            proof: self.0.verify(shown).await,
        })
    }
}

/// A connection on which evidence was shown, and nothing else said yet.
pub(super) struct Open {
    pub(super) connected: Connected<TcpStream, Witnessed>,
    pub(super) address: String,
}

/// Connects by the protocol that was chosen.
///
/// `auto` tries the second one only if the node has shown no evidence by the first: another try is
/// no way around a refusal.
pub(super) async fn open(request: &Request, witness: &Witness, now: u64) -> anyhow::Result<Open> {
    let Request { node, timeout, .. } = request;
    let dial = |dial| dial_once(node, dial, now, *timeout);
    let atls = || dial(Dial::Atls(witness.clone()));
    let ratls = || dial(Dial::Ratls(witness.clone()));
    match request.protocol {
        ProtocolChoice::Atls => Ok(atls().await?.context("connect by aTLS")?),
        ProtocolChoice::Ratls => Ok(ratls().await?.context("connect by flashbots-ratls/1")?),
        ProtocolChoice::Auto => match atls().await? {
            Ok(open) => Ok(open),
            Err(by_atls) if speaks_no_atls(&by_atls) => match ratls().await? {
                Ok(open) => Ok(open),
                Err(by_ratls) => bail!(
                    "the node shows no evidence: aTLS: {:#}; flashbots-ratls/1: {:#}",
                    anyhow::Error::from(by_atls),
                    anyhow::Error::from(by_ratls)
                ),
            },
            Err(error) => Err(error).context("connect by aTLS"),
        },
    }
}

/// Whether the node may still have evidence to show by another protocol.
fn speaks_no_atls(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Tls(_) | HandshakeError::Protocol(ProtocolError::NoEvidence)
    )
}

async fn dial_once(
    node: &Node,
    dial: Dial<Witness>,
    now: u64,
    limit: Duration,
) -> anyhow::Result<Result<Open, HandshakeError>> {
    // The limit for everything comes first, and says what has not happened.
    let limit = limit.saturating_mul(2);
    let timeouts = Timeouts {
        handshake: limit,
        verifying: limit,
        ..Timeouts::CLIENT
    };
    let http = vec![Http::Http2, Http::Http1];
    let connector = Connector::<Nobody, _>::new(dial, None, http, timeouts)?;
    let stream = http::connect(&node.host, node.port).await?;
    let address = stream.peer_addr().context("read the node's address")?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let connected = connector.connect(stream, now).await;
    Ok(connected.map(|connected| Open {
        connected,
        address: address.to_string(),
    }))
}
