//! What can be asked, where, by whom, and who answers.
//!
//! [`table::routes`] is the only list of routes: requests are found in it, and the OpenAPI document
//! is made of it.
//!
//! I/O: the database, in the handlers.

mod admin;
mod health;
mod node;
pub(crate) mod openapi;
mod page;
mod registration;
mod shared;
pub(crate) mod table;

use std::net::IpAddr;

use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::hub::Hub;
use crate::node::NodeIdentity;
use crate::records::Page;
use crate::records::events::Actor;
use crate::reply::{Failure, Reply};
use crate::text::percent_decode;
pub(crate) use table::{Action, Auth, Listener, Route, routes};

/// Most entries of a page of a list, and how many there are by default.
const MAX_PAGE: i64 = 1000;
const DEFAULT_PAGE: i64 = 200;

/// A request that passed the front.
pub(crate) struct Call {
    /// What the braces in the route's path stand for.
    pub(crate) parameters: Parameters,
    /// What follows the question mark.
    pub(crate) query: String,
    /// The body.
    pub(crate) body: Bytes,
    /// Where the connection comes from.
    pub(crate) address: IpAddr,
    /// Who sends it; on admin routes, the admin.
    pub(crate) actor: Option<String>,
    /// What is known of the node that sends it.
    pub(crate) identity: Option<NodeIdentity>,
}

/// Decoded parts of a path, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(&'static str, String)>);

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A route.
    Route(&'static Route, Parameters),
    /// Routes with other methods.
    OtherMethod,
    /// Nothing.
    Nothing,
}

impl Parameters {
    /// A part, empty only if the route has none of this name.
    pub(crate) fn named(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Finds the route of a request at a listener.
pub(crate) fn find(listener: Listener, method: &str, path: &str) -> Found {
    let mut found = Found::Nothing;
    for route in routes().filter(|route| route.listeners.contains(&listener)) {
        let Some(parameters) = parameters(route.path, path) else {
            continue;
        };
        // HEAD is GET without a body, which hyper leaves out.
        if route.method == method || (route.method == "GET" && method == "HEAD") {
            return Found::Route(route, parameters);
        }
        found = Found::OtherMethod;
    }
    found
}

fn parameters(pattern: &'static str, path: &str) -> Option<Parameters> {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    let mut parameters = Vec::new();
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return Some(Parameters(parameters)),
            (Some(pattern), Some(segment)) => {
                match pattern
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'))
                {
                    Some(name) => {
                        let decoded = percent_decode(segment)?;
                        // PostgreSQL has no text with a NUL, so nothing has such a name.
                        if decoded.is_empty() || decoded.contains('\0') {
                            return None;
                        }
                        parameters.push((name, decoded));
                    }
                    None if pattern == segment => {}
                    None => return None,
                }
            }
            _ => return None,
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(hub: &Hub, action: Action, call: Call) -> Result<Reply, Failure> {
    match action {
        Action::Live => Ok(health::live()),
        Action::Ready => Ok(health::ready(hub)),
        Action::Drain => Ok(health::drain(hub).await),
        Action::Undrain => Ok(health::undrain(hub)),
        Action::Metrics => Ok(health::metrics(hub)),
        Action::OpenApi => Ok(openapi::document()),
        Action::Measurements => shared::measurements(hub).await,
        Action::ProductionPeers => shared::peers(hub, "production").await,
        Action::NetworkPeers => shared::peers(hub, call.parameters.named("network")).await,
        Action::Configuration => node::configuration(hub, &call).await,
        Action::Peers => node::peers(hub, &call).await,
        Action::Challenge => registration::challenge(hub, &call).await,
        Action::Register => registration::register(hub, &call).await,
        Action::Page => page::overview(hub).await,
        Action::Style => Ok(page::style()),
        Action::Admin(action) => admin::answer(hub, action, &call).await,
    }
}

impl Call {
    /// Who did it, for the log.
    pub(crate) fn admin(&self) -> Actor {
        let name = self.actor.clone().unwrap_or_else(|| "anybody".to_owned());
        Actor {
            kind: "admin",
            name,
            address: self.address.to_string(),
            measurement: None,
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Json, Failure> {
        // The position is helpful, a quotation could be a secret: serde_json gives only the former.
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::bad_request("failed to unmarshal request body", error.to_string())
        })
    }

    /// The body as an object of known members; serde alone would take an array for one, too.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let json = self.json()?;
        let unreadable =
            |reason: String| Failure::bad_request("failed to unmarshal request body", reason);
        if !json.is_object() {
            return Err(unreadable("expected an object".to_owned()));
        }
        serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))
    }

    /// Which part of a list is asked for: `after`, `limit`.
    pub(crate) fn page(&self) -> Result<Page, Failure> {
        let mut page = Page {
            after: 0,
            limit: DEFAULT_PAGE,
        };
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = value.parse::<i64>().ok().filter(|number| *number >= 0);
            match (key, number) {
                ("after", Some(number)) => page.after = number,
                ("limit", Some(number)) => page.limit = number.clamp(1, MAX_PAGE),
                _ => {
                    let expected = "expected after=NUMBER and limit=NUMBER";
                    return Err(Failure::bad_request("bad query", expected));
                }
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
