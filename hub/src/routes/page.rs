//! The overview for admins: one page, made here, without scripts.
//!
//! The policy in the header allows the style sheet and nothing else.
//!
//! I/O: the database.

mod html;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use hyper::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};

use crate::hub::Hub;
use crate::records::{Page, builders, events, measurements};
use crate::reply::{Failure, Reply, typed, with};
use crate::text;

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
    let running = measurements::running(&mut session).await?;
    let measurements = measurements::list(&mut session, MEASUREMENTS).await?;
    let events = events::list(&mut session, None, EVENTS).await?;
    drop(session);
    let overview = html::Overview {
        now: text::now(),
        builders,
        measurements: measurements
            .iter()
            .map(measurements::Measurement::full)
            .collect(),
        running: running.into_iter().collect(),
        events,
    };
    let reply = typed(
        StatusCode::OK,
        "text/html; charset=utf-8",
        overview.render(),
    );
    let reply = with(reply, CONTENT_SECURITY_POLICY, POLICY);
    let reply = with(reply, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let reply = with(reply, X_FRAME_OPTIONS, "DENY");
    let reply = with(reply, REFERRER_POLICY, "no-referrer");
    Ok(with(reply, CACHE_CONTROL, "no-store"))
}
