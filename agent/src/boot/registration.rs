//! Tells the hub which certificate this node's services show, and proves that the node has its key.
//!
//! The proof is of `docs/hub.md`, "Certificates". A hub that gives no challenge (404) is one of
//! before there were proofs: it gets the certificate alone.
//!
//! I/O: asks the hub.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Machine;
use super::handover::Served;
use super::hub::Hub;
use super::retry::spread;
use super::signers::Address;
use crate::config::node::Registration;
use crate::identity::Identity;

/// What is signed begins with this.
const PURPOSE: &[u8] = b"builderhub registration v1\n";

/// How often at the least the hub is told again.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// Longest challenge that is signed, in bytes. The known hub's has some 100.
const LONGEST_CHALLENGE: usize = 1024;

#[derive(Deserialize)]
struct Challenge {
    challenge: String,
}

/// Registers the certificate that is served, or will be in its place as soon as the hub has it: another must
/// not be told to anybody.
///
/// # Errors
///
/// The hub cannot be asked, or refuses; it says why. Doing it again is always right.
pub(super) async fn register(
    hub: &Hub,
    settings: &Registration,
    identity: &Identity,
    served: &Served,
) -> anyhow::Result<()> {
    let certificate = json!({});
    register_as(
        &settings.service,
        certificate,
        hub,
        settings,
        identity,
        served,
    )
    .await
}

/// The same of a service that has an address to sign with.
pub(super) async fn register_signer(
    service: &str,
    address: &Address,
    hub: &Hub,
    settings: &Registration,
    identity: &Identity,
    served: &Served,
) -> anyhow::Result<()> {
    let signer = json!({ "ecdsa_pubkey_address": address.as_str() });
    register_as(service, signer, hub, settings, identity, served).await
}

async fn register_as(
    service: &str,
    mut body: Value,
    hub: &Hub,
    settings: &Registration,
    identity: &Identity,
    _: &Served,
) -> anyhow::Result<()> {
    let certificate = String::from_utf8(identity.pem().to_vec()).context("PEM is text")?;
    body["tls_cert"] = certificate.into();
    if let Some(challenge) = challenge(hub, settings).await? {
        let message = message(&challenge, service, identity)?;
        let signature = BASE64_STANDARD.encode(identity.sign(&message)?);
        let proof = json!({ "challenge": challenge, "signature": signature });
        body["proof"] = proof;
    }
    let path = format!("{}/{service}", settings.path);
    let registered = hub.post(&path, body.to_string()).await;
    registered.context("register the certificate")
}

/// Tells the hub again from time to time: it may have lost what it was told, or have it from
/// somebody else.
pub(super) async fn keep(machine: &Machine, identity: &Identity, served: &Served) -> Infallible {
    let Some((hub, settings)) = machine.registers() else {
        return pending().await;
    };
    loop {
        sleep(spread(AGAIN, 0.5)).await;
        if let Err(error) = register(hub, settings, identity, served).await {
            tracing::warn!("registration: told again in vain: {error:#}");
        }
    }
}

async fn challenge(hub: &Hub, settings: &Registration) -> anyhow::Result<Option<String>> {
    let Some(path) = &settings.challenge else {
        return Ok(None);
    };
    let answer = hub.fetch_if_there(path).await;
    let Some(answer) = answer.context("ask for a challenge to prove the key")? else {
        return Ok(None);
    };
    let Challenge { challenge } = serde_json::from_slice(&answer).context("read the challenge")?;
    anyhow::ensure!(
        challenge.len() <= LONGEST_CHALLENGE && !challenge.contains('\n'),
        "the challenge is longer than {LONGEST_CHALLENGE} bytes, or of several lines"
    );
    Ok(Some(challenge))
}

fn message(challenge: &str, service: &str, identity: &Identity) -> anyhow::Result<Vec<u8>> {
    let leaf = identity.der().context("there is no certificate")?;
    let mut message = PURPOSE.to_vec();
    for part in [challenge, service] {
        message.extend_from_slice(part.as_bytes());
        message.push(b'\n');
    }
    message.extend_from_slice(digest(&SHA256, leaf).as_ref());
    Ok(message)
}
