//! Log lines for journald: one line per event on standard error, priority first.
//!
//! Under journald a line starts with `<N>`, the priority of `sd-daemon(3)`, and has no time: the
//! journal stamps it. On a terminal it starts with the time and the level instead. Whatever was
//! logged, a line holds no control character, so that nothing a peer sent can forge a line or
//! command a terminal.
//!
//! I/O: reads `JOURNAL_STREAM`; writes standard error.

use std::env;
use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends this process's log to standard error, from `info` upwards.
pub(crate) fn init() {
    let target = if is_journal() {
        Target::Journal
    } else {
        Target::Terminal
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .event_format(target)
        .finish();
    // Fails only if called twice, and then the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Whether standard error is the stream named by `JOURNAL_STREAM`, `systemd.exec(5)`.
///
/// Comparing device and inode matters: a shell started from a service inherits the variable.
fn is_journal() -> bool {
    let Some(stream) = env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let metadata = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata());
    metadata.is_ok_and(|m| stream.to_str() == Some(&format!("{}:{}", m.dev(), m.ino())))
}

#[derive(Clone, Copy)]
enum Target {
    Journal,
    Terminal,
}

impl<S, N> FormatEvent<S, N> for Target
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = event.metadata().level();
        match self {
            Self::Journal => write!(out, "<{}>", priority(*level))?,
            Self::Terminal => {
                SystemTime.format_time(&mut out)?;
                write!(out, " {level:>5} ")?;
            }
        }
        let mut line = Line {
            out: Printable(out),
            result: Ok(()),
            is_empty: true,
        };
        event.record(&mut line);
        line.result?;
        line.out.0.write_char('\n')
    }
}

/// Syslog priorities as `sd-daemon(3)` defines them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// `message key=value key=value`.
struct Line<'a> {
    out: Printable<'a>,
    result: fmt::Result,
    is_empty: bool,
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.is_empty { "" } else { " " };
        self.is_empty = false;
        let written = match field.name() {
            "message" => write!(self.out, "{space}{value:?}"),
            name => write!(self.out, "{space}{name}={value:?}"),
        };
        self.result = self.result.and(written);
    }
}

/// Escapes control characters, and the Unicode ones that reorder text.
struct Printable<'a>(Writer<'a>);

impl Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if is_deceptive(character) {
                write!(self.0, "{}", character.escape_unicode())?;
            } else {
                self.0.write_char(character)?;
            }
        }
        Ok(())
    }
}

fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(target: Target, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(target)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn priority_first_and_no_time_under_journald() {
        let line = logged(Target::Journal, || tracing::warn!(count = 3, "refused"));
        assert_eq!(line, "<4>refused count=3\n");
        let line = logged(Target::Journal, || tracing::info!("started"));
        assert_eq!(line, "<6>started\n");
    }

    #[test]
    fn time_first_on_a_terminal() {
        let line = logged(Target::Terminal, || tracing::info!("started"));
        assert!(line.starts_with("20"), "{line}");
        assert!(line.ends_with("Z  INFO started\n"), "{line}");
    }

    #[test]
    fn no_line_is_forged_and_no_terminal_commanded() {
        let hostile = "a\n<0>forged\x1b[2J\r\u{202e}\u{85}";
        let line = logged(
            Target::Journal,
            || tracing::info!(path = %hostile, "{hostile}"),
        );
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n'));
        assert!(!line.trim_end().chars().any(is_deceptive), "{line:?}");
    }
}
