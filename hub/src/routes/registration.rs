//! Registration of credentials, and the challenge whose signature proves a key.
//!
//! A challenge is `EXPIRY.NONCE.TAG`: seconds since 1970, 16 random bytes, and an HMAC over both and
//! the builder's name; the hub keeps nothing, and any hub with the same keys knows it again. It
//! is good for ten minutes, and more than once: whoever repeats a registration repeats it for the
//! same builder, service and certificate.
//!
//! I/O: the database.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Call;
use super::node::{Node, authenticate, forbidden};
use crate::certificate::{Names, Parsed};
use crate::hub::{CertificatePolicy, Hub};
use crate::records::builders::Builder;
use crate::records::credentials::Register;
use crate::reply::{Failure, Reply, empty, json_ok};
use crate::text;

/// How long a challenge is good.
const LIFETIME: i64 = 600;

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    tls_cert: Option<String>,
    #[serde(default)]
    ecdsa_pubkey_address: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    proof: Option<Proof>,
}

/// A signature over what [`Parsed::message`] makes of the challenge.
#[derive(Deserialize)]
struct Proof {
    challenge: String,
    signature: String,
}

pub(super) async fn challenge(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let Some(Node { builder, .. }) = authenticate(&mut session, call).await? else {
        return Ok(forbidden());
    };
    let seconds = text::now().div_euclid(1_000_000);
    let nonce = crate::sealing::random::<16>().map_err(crate::database::Error::Sealed)?;
    let expiry = seconds.saturating_add(LIFETIME);
    let begin = format!("{expiry}.{}", text::hex(&nonce));
    let tag = hub
        .sources
        .keys
        .authenticate(authenticated(&begin, &builder).as_bytes());
    let challenge = format!("{begin}.{}", text::hex(&tag));
    Ok(json_ok(
        &json!({"challenge": challenge, "expires_in": LIFETIME}),
    ))
}

fn authenticated(begin: &str, builder: &Builder) -> String {
    format!("{begin}\n{}", builder.name)
}

fn is_current(hub: &Hub, challenge: &str, builder: &Builder, now: i64) -> bool {
    let Some((begin, tag)) = challenge.rsplit_once('.') else {
        return false;
    };
    let Some(tag) = text::parse_hex::<32>(tag) else {
        return false;
    };
    let message = authenticated(begin, builder);
    let expiry = begin
        .split('.')
        .next()
        .and_then(|expiry| expiry.parse::<i64>().ok());
    hub.sources.keys.is_authentic(message.as_bytes(), &tag)
        && expiry.is_some_and(|expiry| now.div_euclid(1_000_000) <= expiry)
}

pub(super) async fn register(hub: &Hub, call: &Call) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let Some(Node { builder, actor }) = authenticate(&mut session, call).await? else {
        return Ok(forbidden());
    };
    drop(session);
    let service = call.parameters.named("service").to_owned();
    if !text::is_name(&service) || ["name", "ip", "dns_name"].contains(&service.as_str()) {
        return Err(Failure::bad_request("bad service", "expected another name"));
    }
    let unreadable = "failed to unmarshal request body";
    let registration: Registration = call.object()?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (tls_cert, address) = (
        given(&registration.tls_cert),
        given(&registration.ecdsa_pubkey_address),
    );
    let address = address.map(|address| ethereum_address(&address));
    let address = address
        .transpose()
        .map_err(|e| Failure::bad_request(unreadable, e))?;
    if tls_cert.is_none() && address.is_none() {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "no credentials provided",
        ));
    }
    let region = registration.region.unwrap_or_default();
    if region.len() > 255 || region.chars().any(char::is_control) {
        return Err(Failure::bad_request(unreadable, "expected a short region"));
    }
    if tls_cert.as_deref().is_some_and(|pem| pem.contains('\0')) {
        return Err(Failure::bad_request(
            unreadable,
            "expected text as tls_cert",
        ));
    }
    let certificate = match &tls_cert {
        Some(pem) => check(hub, pem, &builder, &service, registration.proof.as_ref())?,
        None => Checked::default(),
    };
    let register = Register {
        actor,
        builder: builder.name,
        service,
        tls_cert,
        not_after: certificate.not_after,
        ecdsa_address: address,
        region,
        is_proven: certificate.is_proven,
    };
    hub.database.write(&register).await?;
    Ok(empty(StatusCode::OK))
}

#[derive(Default)]
struct Checked {
    not_after: Option<i64>,
    is_proven: bool,
}

fn check(
    hub: &Hub,
    pem: &str,
    builder: &Builder,
    service: &str,
    proof: Option<&Proof>,
) -> Result<Checked, Failure> {
    let policy = hub.settings.certificates;
    let refused = |reason: String| Failure::bad_request("certificate refused", reason);
    let parsed = match Parsed::parse(pem) {
        Ok(parsed) => parsed,
        Err(_) if policy == CertificatePolicy::Any => return Ok(Checked::default()),
        Err(error) => return Err(refused(error.to_string())),
    };
    let not_after = Some(parsed.not_after());
    if policy == CertificatePolicy::Any {
        return Ok(Checked {
            not_after,
            is_proven: false,
        });
    }
    let now = text::now();
    let address = builder.address()?;
    let names = Names {
        name: &builder.name,
        dns_name: &builder.dns_name,
        address,
    };
    parsed
        .check(&names, now)
        .map_err(|error| refused(error.to_string()))?;
    let Some(proof) = proof else {
        if policy == CertificatePolicy::Proven {
            return Err(refused(
                "proof: expected one, this hub requires it".to_owned(),
            ));
        }
        return Ok(Checked {
            not_after,
            is_proven: false,
        });
    };
    if !is_current(hub, &proof.challenge, builder, now) {
        return Err(refused(
            "proof: the challenge is not one of this builder, or too old".into(),
        ));
    }
    let signature = STANDARD.decode(&proof.signature);
    let signature = signature.map_err(|_| refused("proof: expected base64".to_owned()))?;
    let message = parsed.message(&proof.challenge, service);
    parsed
        .prove(&message, &signature)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Checked {
        not_after,
        is_proven: true,
    })
}

fn ethereum_address(address: &str) -> Result<String, String> {
    let digits = address.strip_prefix("0x").and_then(text::parse_hex::<20>);
    let bytes = digits.ok_or("expected 0x and 40 hexadecimal digits as an address")?;
    Ok(format!("0x{}", text::hex(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stored_in_lower_case() {
        let mixed = "0xABCDEFabcdef00000000000000000000000000Ff";
        assert_eq!(ethereum_address(mixed), Ok(mixed.to_lowercase()));
        for wrong in [
            "",
            "0x",
            "0x12",
            &mixed[2..],
            "0Xabcdefabcdef00000000000000000000000000ff",
        ] {
            assert!(ethereum_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn existing_clients_bodies_are_read() {
        let body = json!({"ecdsa_pubkey_address": "0x00", "unknown": 1, "tls_cert": null});
        let read: Registration = serde_json::from_value(body).unwrap();
        assert!(read.tls_cert.is_none() && read.proof.is_none());
    }
}
