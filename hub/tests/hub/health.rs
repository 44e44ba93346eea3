//! Health, drain, numbers, and what there is not.

use std::time::{Duration, Instant};

use crate::support::{Hub, Kind, Place, on_both};

on_both!(a_drained_hub_says_so_and_serves_on);

fn a_drained_hub_says_so_and_serves_on(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.ask("main", "GET", "/livez").ok();
    hub.ask("main", "GET", "/readyz").ok();
    let start = Instant::now();
    assert_eq!(hub.ask("main", "GET", "/drain").ok().body, b"");
    assert!(start.elapsed() >= Duration::from_secs(1));
    hub.ask("main", "GET", "/readyz").is(503);
    hub.ask("main", "GET", "/livez").ok();
    hub.ask("main", "GET", "/api/l1-builder/v1/measurements")
        .ok();
    // Already drained: nothing to wait for.
    let start = Instant::now();
    hub.ask("main", "GET", "/drain").ok();
    assert!(start.elapsed() < Duration::from_secs(1));
    hub.ask("main", "GET", "/undrain").ok();
    hub.ask("main", "GET", "/readyz").ok();
    assert!(hub.stop());
}

#[test]
fn every_listener_has_its_own_routes_only() {
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    let internal = "/api/internal/l1-builder/v1/builders";
    hub.ask("internal", "GET", internal).ok();
    for (listener, path) in [
        ("main", internal),
        ("main", "/metrics"),
        ("main", "/api/admin/v1/builders"),
        ("internal", "/api/admin/v1/builders"),
        ("internal", "/drain"),
        ("metrics", "/livez"),
        ("admin", "/api/l1-builder/v1/configuration"),
        ("main", "/debug/pprof"),
        ("main", "/"),
    ] {
        hub.ask(listener, "GET", path).is(404);
    }
    hub.ask("main", "POST", "/livez").is(405);
    let metrics = hub.ask("metrics", "GET", "/metrics").ok().text();
    assert!(metrics.contains("builderhub_ready 1"), "{metrics}");
    let line = r#"builderhub_requests_total{method="GET",route="/api/internal/l1-builder/v1/builders",status="200"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}
