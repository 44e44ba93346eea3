//! Requests to a hub's admin API.
//!
//! I/O: the hub; the credentials' file, or the terminal.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use attestation::tls::{Http, Nobody};
use attested_http::body::full;
use attested_http::client::{ClientSettings, Named, Unsecured};
use attested_http::{Body, Target, Upstream};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use rustls_pki_types::ServerName;
use serde_json::Value as Json;

use super::HubArguments;
use super::commands::AdminRequest;
use crate::private_file;

/// Largest answer that is read.
const MAX_ANSWER: usize = 256 << 20;

/// A hub, and the admin's credentials.
pub(super) struct Connection {
    upstream: Upstream<Nobody>,
    authorization: Option<String>,
}

impl Connection {
    pub(super) fn new(hub: &HubArguments) -> anyhow::Result<Self> {
        let target: Target = hub.admin_url.parse().context("parse --admin-url")?;
        let settings = ClientSettings::default();
        let upstream = if target.is_https() {
            let name = ServerName::try_from(target.host().to_owned());
            let name = name.context("parse the name in --admin-url")?;
            let roots = crate::roots::read(hub.ca.as_deref())?;
            Upstream::new(target, Named::new(name, roots, &[Http::Http1])?, settings)
        } else {
            let is_near = is_loopback(target.host());
            ensure!(
                is_near || hub.danger_plain_http || hub.no_credentials,
                "{} would get the password unencrypted: use https, or a tunnel",
                target.host()
            );
            Upstream::new(target, Unsecured, settings)
        };
        let authorization = match &hub.credentials {
            _ if hub.no_credentials => None,
            Some(path) => Some(read(path)?),
            None => Some(ask()?),
        };
        let authorization =
            authorization.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        Ok(Self {
            upstream,
            authorization,
        })
    }

    /// Sends a request; the answer's JSON, null if it is empty.
    pub(super) async fn send(&self, request: &AdminRequest) -> anyhow::Result<Json> {
        let AdminRequest { method, path, body } = request;
        let mut builder = Request::builder().method(*method).uri(path);
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = body.as_ref().map(Json::to_string).unwrap_or_default();
        let request = builder.body(full(body)).context("make the request")?;
        let answer = self.upstream.send(request).await.context("ask the hub")?;
        let status = answer.response.status();
        let body = read_body(answer.response.into_body()).await?;
        let json = serde_json::from_slice(&body).unwrap_or(Json::Null);
        if status.is_success() {
            return Ok(json);
        }
        let text = |key| json.get(key).and_then(Json::as_str);
        match (text("message"), text("error")) {
            (Some(message), Some(error)) => bail!("the hub says {status}: {message}: {error}"),
            (Some(message), None) => bail!("the hub says {status}: {message}"),
            _ => bail!("the hub says {status}"),
        }
    }
}

async fn read_body(mut body: Body) -> anyhow::Result<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| anyhow::anyhow!(error))
            .context("read the answer")?;
        if let Ok(data) = frame.into_data() {
            ensure!(
                read.len().saturating_add(data.len()) <= MAX_ANSWER,
                "the answer is too long"
            );
            read.extend_from_slice(&data);
        }
    }
    Ok(read)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = private_file::read(path, "credentials in")?;
    let credentials = text.trim_end_matches(['\r', '\n']).to_owned();
    ensure!(
        credentials.contains(':'),
        "{}: expected NAME:PASSWORD",
        path.display()
    );
    Ok(credentials)
}

/// Asks at the terminal, not at standard input: that may be the document to be sent.
fn ask() -> anyhow::Result<String> {
    let terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let terminal =
        terminal.context("open the terminal to ask for a password: use --credentials")?;
    let mut lines = BufReader::new(terminal.try_clone()?).lines();
    let mut answer = |question: &str| -> anyhow::Result<String> {
        (&terminal).write_all(question.as_bytes())?;
        lines
            .next()
            .context("no answer")?
            .context("read the terminal")
    };
    let name = answer("Admin's name: ")?;
    let before = tcgetattr(&terminal).context("read the terminal's settings")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Now, &silent).context("set up the terminal")?;
    let password = answer("Password: ");
    tcsetattr(&terminal, OptionalActions::Now, &before).context("restore the terminal")?;
    (&terminal).write_all(b"\n")?;
    Ok(format!("{name}:{}", password?))
}
