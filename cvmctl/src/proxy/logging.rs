//! The log: one line for each event on standard error, as text or as JSON.
//!
//! I/O: logs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::moment::Moment;

/// Begins to log as `service`: what is of interest, and with `is_debugged` what our own crates do.
pub(super) fn start(service: &'static str, is_json: bool, is_debugged: bool) {
    let own = match is_debugged {
        true => Level::DEBUG,
        false => Level::INFO,
    };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("attested_http", own)
        .with_target("attestation", own)
        .with_target("attester", own)
        .with_target("cvmctl", own);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets);
    // Fails only if there is a log already.
    let _ = match is_json {
        true => registry
            .with(layer.event_format(Json { service }))
            .try_init(),
        false => registry.with(layer.with_ansi(false)).try_init(),
    };
}

/// One object in each line, with the keys of Go's `slog`.
struct Json {
    service: &'static str,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Moment(now.map_or(0, |now| now.as_secs()));
        let message = fields.0.remove("message").unwrap_or_default();
        let mut line = Map::new();
        line.insert("time".to_owned(), now.to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("msg".to_owned(), message);
        line.insert("service".to_owned(), self.service.into());
        line.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        line.extend(fields.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// An event's fields.
#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
