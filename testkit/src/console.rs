//! What a guest writes on its serial console, line by line, with the time of each.
//!
//! I/O: reads a pipe in a thread of its own, writes a log file.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub mod phases;
pub mod stages;

/// One line, without its end and without terminal escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the machine was started.
    pub at: Duration,
    /// The text.
    pub text: String,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// What came after the last line end: prompts have none.
    partial: Vec<u8>,
    closed: bool,
}

/// A console that is being followed.
#[derive(Clone, Debug, Default)]
pub struct Console {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Console {
    /// Follows `output` to its end; each line also goes to `log` and, if wanted, to standard
    /// output.
    pub fn follow(
        mut output: impl Read + Send + 'static,
        started: Instant,
        mut log: File,
        echo: bool,
    ) -> Self {
        let console = Self::default();
        let follower = console.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default();
                let at = started.elapsed();
                for line in follower.take(bytes, at) {
                    // A full disk must not stop the machine.
                    let _ = writeln!(log, "[{:8.3}] {}", line.at.as_secs_f64(), line.text);
                    if echo {
                        let _ = writeln!(std::io::stdout(), "{}", line.text);
                    }
                }
            }
            follower.close();
        });
        console
    }

    /// All lines so far; an unfinished line is the last.
    pub fn lines(&self) -> Vec<Line> {
        all_lines(&self.lock())
    }

    /// All lines that have ended.
    pub fn ended_lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// The last `count` lines as text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        let start = lines.len().saturating_sub(count);
        lines
            .iter()
            .skip(start)
            .map(|line| format!("  [{:7.2}] {}\n", line.at.as_secs_f64(), line.text))
            .collect()
    }

    /// The first line that contains `text`.
    pub fn find(&self, text: &str) -> Option<Line> {
        self.lines()
            .into_iter()
            .find(|line| line.text.contains(text))
    }

    /// Whether the machine has closed its console, which it does by ending.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Looks at the lines whenever there are new ones until `look` finds something, the console
    /// is closed or `timeout` has passed.
    pub fn wait<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&[Line]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let found = look(&all_lines(&state));
            let left = end.saturating_duration_since(Instant::now());
            if found.is_some() || state.closed || left.is_zero() {
                return found;
            }
            let (next, _) = self
                .shared
                .1
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Option<Line> {
        self.wait(timeout, |lines| {
            lines.iter().find(|line| line.text.contains(text)).cloned()
        })
    }

    fn take(&self, bytes: &[u8], at: Duration) -> Vec<Line> {
        let mut state = self.lock();
        state.partial.extend(bytes);
        let mut fresh = Vec::new();
        while let Some(end) = state.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = state.partial.drain(..=end).collect();
            fresh.push(Line {
                at,
                text: plain(&line),
            });
        }
        state.lines.extend(fresh.iter().cloned());
        drop(state);
        self.shared.1.notify_all();
        fresh
    }

    fn close(&self) {
        self.lock().closed = true;
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all_lines(state: &State) -> Vec<Line> {
    let mut lines = state.lines.clone();
    let partial = plain(&state.partial);
    if !partial.is_empty() {
        let at = lines.last().map_or(Duration::ZERO, |line| line.at);
        lines.push(Line { at, text: partial });
    }
    lines
}

/// Text without terminal escapes (ECMA-48 control sequences), control characters and trailing
/// blanks.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // Parameters, then one final character in @..~.
                Some('[') => while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // A character set: one more.
                Some('(' | ')') => {
                    characters.next();
                }
                _ => {}
            },
            '\t' => out.push(character),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_out() {
        let raw =
            b"\x1b[0;32m[  OK  ]\x1b[0m Reached target \x1b[0;1;39mmulti-user.target\x1b[0m.\r\n";
        assert_eq!(plain(raw), "[  OK  ] Reached target multi-user.target.");
        assert_eq!(plain(b"\x1b(B\x1bcx\x1b[2J\x1b[01;01H"), "x");
        assert_eq!(plain(b"\x1b["), "");
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let console = Console::default();
        let second = Duration::from_secs(1);
        assert!(console.take(b"Reached tar", second).is_empty());
        assert_eq!(console.take(b"get a\r\nlogin: ", second).len(), 1);
        let texts: Vec<_> = console.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["Reached target a", "login:"]);
    }

    #[test]
    fn waiting_ends_with_the_console() {
        let file = tempfile::tempfile().unwrap();
        let console = Console::follow(&b"one\ntwo\n"[..], Instant::now(), file, false);
        let found = console.wait_for("two", Duration::from_secs(10));
        assert_eq!(found.unwrap().text, "two");
        assert!(console.wait_for("three", Duration::from_secs(10)).is_none());
        assert!(console.is_closed());
    }
}
