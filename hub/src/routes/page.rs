//! The overview for admins: one page, made here, without scripts.
//!
//! Whatever comes from the database is escaped; the policy in the header allows the style sheet and
//! nothing else.
//!
//! I/O: the database.

use std::collections::HashMap;
use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use hyper::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use serde_json::Value as Json;

use crate::hub::Hub;
use crate::records::{Page, builders, events, measurements};
use crate::reply::{Failure, Reply, typed, with};

const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("../../data/style.css");

/// How much is shown; the command line shows the rest.
const BUILDERS: Page = Page {
    after: 0,
    limit: 500,
};
const MEASUREMENTS: Page = Page {
    after: 0,
    limit: 200,
};
const EVENTS: Page = Page {
    after: 0,
    limit: 50,
};

pub(super) fn style() -> Reply {
    let reply = typed(StatusCode::OK, "text/css; charset=utf-8", STYLE);
    with(reply, X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(super) async fn overview(hub: &Hub) -> Result<Reply, Failure> {
    let mut session = hub.database.read().await?;
    let builders = builders::list(&mut session, BUILDERS).await?;
    let running = measurements::running(&mut session)
        .await?
        .into_iter()
        .collect();
    let measurements = measurements::list(&mut session, MEASUREMENTS).await?;
    let measurements = measurements
        .iter()
        .map(measurements::Measurement::full)
        .collect::<Vec<_>>();
    let events = events::list(&mut session, None, EVENTS).await?;
    let html = render(&builders, &measurements, &running, &events);
    let reply = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    let reply = with(reply, CONTENT_SECURITY_POLICY, POLICY);
    let reply = with(reply, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let reply = with(reply, X_FRAME_OPTIONS, "DENY");
    let reply = with(reply, REFERRER_POLICY, "no-referrer");
    Ok(with(reply, CACHE_CONTROL, "no-store"))
}

fn render(
    builders: &[Json],
    measurements: &[Json],
    running: &HashMap<String, i64>,
    events: &[Json],
) -> String {
    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>builderhub</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n<h1>builderhub</h1>\n",
    );
    let columns = [
        "Name",
        "Address",
        "DNS name",
        "Network",
        "State",
        "Runs",
        "Certificate ends",
        "Last contact",
    ];
    let rows = builders.iter().map(|builder| {
        let text = |key| field(builder, key);
        vec![
            text("name"),
            text("ip_address"),
            text("dns_name"),
            text("network"),
            state(builder),
            text("measurement_id"),
            text("certificate_expires"),
            text("last_contact"),
        ]
    });
    table(&mut html, "Builders", &columns, rows);
    let rows = measurements.iter().map(|entry| {
        let name = field(entry, "measurement_id");
        let builders = running.get(&name).copied().unwrap_or(0).to_string();
        vec![
            name,
            field(entry, "attestation_type"),
            state(entry),
            builders,
        ]
    });
    table(
        &mut html,
        "Measurements",
        &["Name", "Type", "State", "Builders"],
        rows,
    );
    let columns = [
        "Time",
        "Who",
        "What",
        "Builder",
        "Measurement",
        "From",
        "Details",
    ];
    let rows = events.iter().map(|event| {
        let text = |key| field(event, key);
        let who = format!("{} {}", text("actor_kind"), text("actor"));
        let [at, what, builder] = [text("at"), text("event"), text("builder")];
        vec![
            at,
            who,
            what,
            builder,
            text("measurement_id"),
            text("address"),
            text("detail"),
        ]
    });
    table(&mut html, "Recent events", &columns, rows);
    html.push_str("</body>\n</html>\n");
    html
}

fn table(
    html: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    // Writing to a string does not fail.
    let _ = writeln!(html, "<h2>{}</h2>\n<table>\n<thead><tr>", escape(title));
    for column in columns {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
}

fn field(entry: &Json, key: &str) -> String {
    entry
        .get(key)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn state(entry: &Json) -> String {
    let is_active = entry
        .get("is_active")
        .and_then(Json::as_bool)
        .unwrap_or(false);
    if is_active { "active" } else { "inactive" }.to_owned()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn everything_is_escaped() {
        let evil = "<script>alert('x')</script>\"&";
        let html = render(
            &[
                json!({"name": evil, "ip_address": evil, "dns_name": evil, "network": evil,
                "measurement_id": evil, "certificate_expires": evil, "last_contact": evil}),
            ],
            &[json!({"measurement_id": evil, "attestation_type": evil, "is_active": true})],
            &HashMap::new(),
            &[
                json!({"at": evil, "actor_kind": evil, "actor": evil, "event": evil, "builder": evil,
                "measurement_id": evil, "address": evil, "detail": evil}),
            ],
        );
        assert!(!html.contains("<script"));
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count(), 17);
    }

    proptest! {
        #[test]
        fn no_text_ends_a_cell(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
