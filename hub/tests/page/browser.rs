//! A browser without a window, driven through a pipe: its DevTools protocol, messages that end
//! with NUL.
//!
//! It reaches this machine only: every request stops here first, other names are not resolved, and
//! the proxy for the rest is a closed port. It runs without its own sandbox, which root cannot have;
//! what it opens is this test's.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::child::{Child, dependent};

/// The program itself: the one on the search path is a script that would outlive its child.
pub(crate) const PROGRAM: &str = "/usr/lib/chromium/chromium-headless-shell";
/// Longest wait for an answer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// The protocol's messages come and go at 3 and 4, which are pipes that only a shell can put there.
const PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;
const OPTIONS: &[&str] = &[
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// A running browser; it ends when dropped.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(profile.path().join("log")).unwrap();
        let mut command = dependent("sh");
        command
            .args(["-c", PIPES, PROGRAM])
            .args(OPTIONS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = Child::spawn(&mut command).unwrap();
        let to = child.take_stdin().unwrap();
        let mut lines = BufReader::new(child.take_stdout().unwrap()).split(0);
        let (sender, from) = channel();
        thread::spawn(move || {
            while let Some(Ok(message)) = lines.next() {
                if sender
                    .send(serde_json::from_slice(&message).unwrap())
                    .is_err()
                {
                    break;
                }
            }
        });
        Self {
            child,
            to,
            from,
            last: 0,
            profile,
        }
    }

    /// Sends a command to the browser, or to a page by its session, and returns its number.
    pub(crate) fn send(&mut self, session: Option<&str>, method: &str, params: &Value) -> u64 {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        if let Err(error) = self.to.write_all(&bytes) {
            panic!("{method}: {error}; {}", self.says());
        }
        self.last
    }

    /// The next message of the browser, an answer or an event.
    pub(crate) fn next(&self, end: Instant) -> Value {
        let left = end.saturating_duration_since(Instant::now());
        let message = self.from.recv_timeout(left);
        message
            .unwrap_or_else(|error| panic!("no message of the browser: {error}; {}", self.says()))
    }

    /// When to stop waiting for what begins now.
    pub(crate) fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }

    /// Sends a command to the browser itself and returns what it answers.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(None, method, params);
        let end = Self::deadline();
        loop {
            let message = self.next(end);
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
        }
    }

    fn says(&self) -> String {
        let log = std::fs::read(self.profile.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked first, so that it ends its own children.
        let _ = self
            .to
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        self.child.wait_timeout(Duration::from_secs(5));
        self.child.kill();
    }
}
