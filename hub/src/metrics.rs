//! Numbers for Prometheus.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 2000, 10_000];

/// Counts of one route.
#[derive(Default)]
struct Route {
    by_status: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    microseconds: u64,
}

/// Counts of all routes.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<(&'static str, &'static str), Route>>);

impl Metrics {
    /// Counts an answer; `path` is the route's, with names in braces.
    pub(crate) fn answered(
        &self,
        method: &'static str,
        path: &'static str,
        status: u16,
        took: Duration,
    ) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry((method, path)).or_default();
        let count = route.by_status.entry(status).or_default();
        *count = count.saturating_add(1);
        route.count = route.count.saturating_add(1);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        route.microseconds = route.microseconds.saturating_add(microseconds);
        for (bucket, bound) in route.buckets.iter_mut().zip(BUCKETS) {
            if microseconds <= bound.saturating_mul(1000) {
                *bucket = bucket.saturating_add(1);
            }
        }
    }

    /// All of it, and some gauges, in Prometheus's text format.
    pub(crate) fn render(&self, gauges: &[(&'static str, &'static str, u64)]) -> String {
        let mut text = String::new();
        for (name, help, value) in gauges {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
            );
        }
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str("# HELP builderhub_requests_total Answers, by route and status.\n");
        text.push_str("# TYPE builderhub_requests_total counter\n");
        for ((method, path), route) in routes.iter() {
            for (status, count) in &route.by_status {
                let _ = writeln!(
                    text,
                    "builderhub_requests_total{{method=\"{method}\",route=\"{path}\",\
                     status=\"{status}\"}} {count}"
                );
            }
        }
        let name = "builderhub_request_duration_seconds";
        let _ = writeln!(
            text,
            "# HELP {name} How long answers took.\n# TYPE {name} histogram"
        );
        for ((method, path), route) in routes.iter() {
            let labels = format!("method=\"{method}\",route=\"{path}\"");
            for (count, bound) in route.buckets.iter().zip(BUCKETS) {
                let bound = Seconds(bound.saturating_mul(1000));
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let (count, sum) = (route.count, Seconds(route.microseconds));
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
        }
        text
    }
}

/// Microseconds, shown as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_route_status_and_bucket() {
        let metrics = Metrics::default();
        metrics.answered("GET", "/a/{b}", 200, Duration::from_micros(1500));
        metrics.answered("GET", "/a/{b}", 404, Duration::from_secs(60));
        let text = metrics.render(&[("builderhub_ready", "Whether.", 1)]);
        for line in [
            "builderhub_ready 1",
            r#"builderhub_requests_total{method="GET",route="/a/{b}",status="404"} 1"#,
            r#"builderhub_request_duration_seconds_bucket{method="GET",route="/a/{b}",le="0.001000"} 0"#,
            r#"builderhub_request_duration_seconds_bucket{method="GET",route="/a/{b}",le="0.002000"} 1"#,
            r#"builderhub_request_duration_seconds_bucket{method="GET",route="/a/{b}",le="+Inf"} 2"#,
            r#"builderhub_request_duration_seconds_sum{method="GET",route="/a/{b}"} 60.001500"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
