//! The OpenAPI document, made of the table of routes, so that it lists what is answered and nothing
//! else.
//!
//! I/O: none.

use hyper::StatusCode;
use serde_json::{Map, Value as Json, json};

use super::table::{Auth, Listener, Route, routes};
use crate::reply::{Reply, json_ok};

/// The schemas that routes name.
const SCHEMAS: &str = include_str!("../../data/openapi-schemas.json");

pub(super) fn document() -> Reply {
    json_ok(&make())
}

/// The whole document.
pub(crate) fn make() -> Json {
    let mut paths = Map::new();
    for route in routes() {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Json::Object(methods) = entry {
            methods.insert(route.method.to_lowercase(), operation(route));
        }
    }
    let schemas: Json = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "builderhub", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "basic"},
                "node": {
                    "type": "http",
                    "scheme": "attested-tls",
                    "description": "Attested TLS at the attested listener; \
                                    headers of a trusted proxy at the main one.",
                },
            },
        },
    })
}

fn operation(route: &Route) -> Json {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), success(route.gives));
    for status in statuses(route) {
        let reason = StatusCode::from_u16(status)
            .ok()
            .and_then(|s| s.canonical_reason());
        let text = json!({"description": reason.unwrap_or("Failure")});
        responses.insert(status.to_string(), text);
    }
    let parameters = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
    });
    let listeners = route.listeners.iter().map(|listener| listener.name());
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": responses,
        "x-listeners": listeners.collect::<Vec<_>>(),
    });
    let Json::Object(members) = &mut operation else {
        return operation;
    };
    if let Some(schema) = route.takes {
        let body = json!({"required": true, "content": content("application/json", schema)});
        members.insert("requestBody".to_owned(), body);
    }
    let security = match route.auth {
        Auth::None => return operation,
        Auth::Node => "node",
        Auth::Admin => "admin",
    };
    members.insert("security".to_owned(), json!([{security: []}]));
    operation
}

/// What a route may answer instead of 200. Not listed is what has nothing to do with the route: 400
/// for a request that isn't HTTP.
fn statuses(route: &Route) -> Vec<u16> {
    // A body that is too large, or takes too long.
    let mut statuses = vec![413, 503];
    statuses.extend(route.refuses);
    if route.action.asks_database() {
        statuses.push(500);
    }
    match route.auth {
        Auth::None => {}
        Auth::Node => statuses.extend([403, 429]),
        Auth::Admin => statuses.extend([401, 429]),
    }
    // From another site's page.
    if route.auth == Auth::Admin && route.method != "GET" {
        statuses.push(403);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn success(gives: &str) -> Json {
    match gives {
        "" => json!({"description": "Done."}),
        "text" => json!({"description": "Text.", "content": {"text/plain": {}}}),
        "html" => json!({"description": "A page.", "content": {"text/html": {}}}),
        "css" => json!({"description": "A style sheet.", "content": {"text/css": {}}}),
        schema => json!({"description": "JSON.", "content": content("application/json", schema)}),
    }
}

fn content(kind: &str, schema: &str) -> Json {
    json!({kind: {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

impl Listener {
    /// Its name, in the document and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Attested => "attested",
            Self::Admin => "admin",
            Self::Internal => "internal",
            Self::Metrics => "metrics",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there_and_every_one_is_named() {
        let document = make();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(!schemas.is_empty());
        let text = document.to_string();
        for name in schemas.keys() {
            assert!(
                text.contains(&format!("#/components/schemas/{name}\"")),
                "{name} is unused"
            );
        }
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is missing");
        }
    }
}
