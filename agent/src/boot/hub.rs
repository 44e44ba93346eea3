//! The hub, as this machine's proxy shows it: plain HTTP on loopback, attested and verified beyond.
//!
//! What the proxy gives is the hub's, whose name it has verified; it is bounded here all the same. That
//! it is the proxy who listens there rests on the image: whatever else runs on the machine is part of
//! what was measured.
//!
//! I/O: connects to the proxy.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use attestation::tls::Nobody;
use attested_http::body::{Body, empty, full};
use attested_http::client::{ClientSettings, Target, Unsecured, Upstream};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// One question and its answer, evidence and all: a quote may take seconds. The proxy gives a hub up
/// after 60 s, and what it says about that is worth waiting for.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Largest answer, in bytes. The largest known configuration has some 30 kB; as JSON values, it may
/// take thirty times as much memory, twice while one replaces another.
const LARGEST: usize = 1 << 20;

/// As much of a refusal is shown, in characters.
const SHOWN: usize = 500;

/// A client of what this machine serves to itself in plain text, such as the proxy to the hub.
pub(super) struct Hub {
    upstream: Upstream<Nobody>,
    /// Who answers, for whoever reads an error.
    name: &'static str,
}

/// What the codes begin with by which this machine's proxy says that it has no answer of the hub's.
const UNANSWERED: &str = "server_";

/// An answer with which the hub says no, or the proxy in its place.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

impl Hub {
    /// Through the proxy at this address.
    pub(super) fn at(proxy: SocketAddr) -> anyhow::Result<Self> {
        Self::called("the hub", proxy)
    }

    /// Not a hub, but a service of this machine that is asked in the same way.
    pub(super) fn called(name: &'static str, address: SocketAddr) -> anyhow::Result<Self> {
        let target: Target = format!("http://{address}").parse().context("name it")?;
        let settings = ClientSettings {
            // Not before the proxy has said why there is no answer.
            response_head: PATIENCE,
            ..ClientSettings::default()
        };
        let upstream = Upstream::new(target, Unsecured, settings);
        Ok(Self { upstream, name })
    }

    /// The body of an answer of 200.
    pub(super) async fn fetch(&self, path: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let answer = self.ask(Method::GET, path, empty()).await?;
        self.succeeded(answer)
    }

    /// As [`Self::fetch`], and nothing if the hub has no such path.
    pub(super) async fn fetch_if_there(
        &self,
        path: &str,
    ) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        let answer = self.ask(Method::GET, path, empty()).await?;
        match answer.0 {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => self.succeeded(answer).map(Some),
        }
    }

    /// Tells the hub something.
    pub(super) async fn post(&self, path: &str, json: String) -> anyhow::Result<()> {
        let answer = self.ask(Method::POST, path, full(json)).await?;
        self.succeeded(answer).map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> anyhow::Result<(StatusCode, Zeroizing<Vec<u8>>)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .context("make the request")?;
        let asking = async {
            let answer = self.upstream.send(request).await;
            let answer = answer.map_err(|error| anyhow!("{}", attested_http::Causes(&error)))?;
            read(answer.response).await
        };
        match timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => bail!(
                "{} has not answered within {} s",
                self.name,
                PATIENCE.as_secs()
            ),
        }
    }

    fn succeeded(
        &self,
        (status, body): (StatusCode, Zeroizing<Vec<u8>>),
    ) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let name = self.name;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::FORBIDDEN if body.is_empty() => bail!(
                "{name} does not let this node in (403): no active measurement is this machine's, \
                 or no active builder has its address"
            ),
            // Whoever looks for the trouble must not look for it at the hub alone.
            StatusCode::BAD_GATEWAY if is_unanswered(&body) => {
                bail!("no answer from {name}: {}", said(&body))
            }
            _ => bail!("{name} answers {status}: {}", said(&body)),
        }
    }
}

async fn read(response: Response<Body>) -> anyhow::Result<(StatusCode, Zeroizing<Vec<u8>>)> {
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| anyhow!("read the hub's answer: {error}"))?;
    let body: Bytes = body.to_bytes();
    Ok((status, Zeroizing::new(body.to_vec())))
}

/// Whether the proxy answers because it has no answer of the hub's. A hub could say the same of itself.
fn is_unanswered(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal>(body)
        .is_ok_and(|refusal| refusal.code.starts_with(UNANSWERED))
}

/// The reason in an answer that is none of success. Of a body of another form, only how long it is:
/// whatever it is, it may be secret.
fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) if refusal.error.is_empty() => refusal.message,
        Ok(refusal) => format!("{}: {}", refusal.message, refusal.error),
        Err(_) => format!("{} bytes that are no reason", body.len()),
    };
    text.trim().chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why() {
        for (body, expected) in [
            (r#"{"message":"no","error":"because"}"#, "no: because"),
            (r#"{"code":"bad_gateway","message":"no"}"#, "no"),
            ("secret words\n", "13 bytes that are no reason"),
            ("", "0 bytes that are no reason"),
        ] {
            assert_eq!(said(body.as_bytes()), expected);
        }
        for (body, expected) in [
            (r#"{"code":"server_not_reached","message":"no"}"#, true),
            (r#"{"code":"bad_answer","message":"no"}"#, false),
            ("secret words", false),
        ] {
            assert_eq!(is_unanswered(body.as_bytes()), expected, "{body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(9000));
        assert_eq!(said(long.as_bytes()).chars().count(), SHOWN);
    }
}
