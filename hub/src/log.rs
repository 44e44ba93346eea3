//! The log: one line for each event on standard error, as text or as JSON.
//!
//! Options and variables are those of existing hubs. At debug level only our own crates say more:
//! what the HTTP and TLS libraries have to say there can hold what was sent.
//!
//! I/O: logs; random numbers of the system, for the tag of one start.

use std::fmt;

use clap::Args;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::options::boolish;
use crate::text;

/// How the log looks, and how much there is of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArguments {
    /// Log one JSON object a line
    #[arg(long, env = "LOG_JSON", value_parser = boolish, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", hide_default_value = true)]
    log_json: bool,

    /// Log every request (its route, never its path, headers or body), and more
    #[arg(long, env = "LOG_DEBUG", value_parser = boolish, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", hide_default_value = true)]
    log_debug: bool,

    /// Mark all lines of one start with the same random `uid`
    #[arg(long, env = "LOG_UID", value_parser = boolish, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", hide_default_value = true)]
    log_uid: bool,

    /// Mark all lines with this `service` (default with --log-json: builderhub)
    #[arg(long, env = "LOG_SERVICE", value_name = "NAME")]
    log_service: Option<String>,
}

/// Begins to log.
///
/// # Errors
///
/// If the system has no random numbers.
pub(crate) fn start(arguments: &LogArguments) -> anyhow::Result<()> {
    let own = match arguments.log_debug {
        true => Level::DEBUG,
        false => Level::INFO,
    };
    let targets = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("builderhub", own)
        .with_target("attested_http", own)
        .with_target("attestation", own);
    let tags = tags(arguments)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets);
    // Fails only if there is a log already.
    let _ = match arguments.log_json {
        true => registry.with(layer.event_format(Json(tags))).try_init(),
        false => {
            let lines = Format::default().with_target(false).with_ansi(false);
            let marked = Marked { lines, tags };
            registry.with(layer.event_format(marked)).try_init()
        }
    };
    Ok(())
}

/// What is said in every line.
fn tags(arguments: &LogArguments) -> anyhow::Result<Map<String, Value>> {
    let mut tags = Map::new();
    let service = arguments.log_service.as_deref();
    let service = service.or(arguments.log_json.then_some("builderhub"));
    if let Some(service) = service {
        tags.insert("service".to_owned(), service.into());
    }
    if arguments.log_json {
        tags.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    if arguments.log_uid {
        let uid = text::hex(&crate::sealing::random::<16>()?);
        tags.insert("uid".to_owned(), uid.into());
    }
    Ok(tags)
}

/// Lines of text with the tags at their ends.
struct Marked {
    lines: Format<Full>,
    tags: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for Marked
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.lines
            .format_event(context, Writer::new(&mut line), event)?;
        write!(writer, "{}", line.trim_end_matches('\n'))?;
        for (key, value) in &self.tags {
            write!(writer, " {key}={value}")?;
        }
        writeln!(writer)
    }
}

/// One object in each line, with the keys of Go's `slog`. What an event says itself counts before
/// the tags.
struct Json(Map<String, Value>);

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
        let mut fields = Fields(self.0.clone());
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let level = event.metadata().level().as_str();
        fields
            .0
            .insert("time".to_owned(), text::time(text::now()).into());
        fields.0.insert("level".to_owned(), level.into());
        fields.0.insert("msg".to_owned(), message);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// An event's fields.
struct Fields(Map<String, Value>);

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
