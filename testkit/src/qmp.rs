//! The QEMU Machine Protocol: one command, one answer, JSON by line.
//!
//! I/O: a Unix socket of QEMU's.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::POLL;

/// How long QEMU may take to answer. Dumping memory takes longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why QEMU did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The socket failed, or QEMU has ended.
    #[error("talk to QEMU")]
    Io(#[from] io::Error),

    /// Something that is not JSON, or not an answer.
    #[error("QEMU's answer is not QMP: {0}")]
    Malformed(String),

    /// QEMU refused the command.
    #[error("QEMU refused {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's description.
        reason: String,
    },
}

/// A connection to a running QEMU.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects, waiting up to `timeout` for QEMU to listen.
    ///
    /// # Errors
    ///
    /// [`QmpError`] if it does not, or does not greet.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, QmpError> {
        let end = Instant::now() + timeout;
        let writer = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= end => return Err(error.into()),
                Err(_) => std::thread::sleep(POLL),
            }
        };
        writer.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut qmp = Self {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        };
        qmp.read_message()?; // the greeting
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns what it returns.
    ///
    /// # Errors
    ///
    /// [`QmpError::Refused`] with QEMU's reason.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let request = json!({"execute": command, "arguments": arguments});
        self.writer.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut message = self.read_message()?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let reason = error.get("desc").and_then(Value::as_str);
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason: reason.unwrap_or("without a reason").to_owned(),
                });
            }
            // Anything else is an event, and nobody here waits for one.
        }
    }

    /// Executes a command of the human monitor, for what QMP does not offer.
    ///
    /// # Errors
    ///
    /// [`QmpError`] if QEMU is gone; the monitor's own complaints are in the text.
    pub fn human(&mut self, command: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({"command-line": command}))?;
        match answer {
            Value::String(text) => Ok(text),
            other => Err(QmpError::Malformed(other.to_string())),
        }
    }

    fn read_message(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        serde_json::from_str(&line).map_err(|_| QmpError::Malformed(line))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers each line with the next group of lines.
    fn qemu(path: &Path, answers: &'static [&'static str]) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in answers {
                stream.write_all(answer.as_bytes()).unwrap();
                reader.read_line(&mut String::new()).unwrap();
            }
        });
    }

    #[test]
    fn events_between_answers_are_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        qemu(
            &path,
            &[
                "{\"QMP\":{}}\n",
                "{\"return\":{}}\n",
                "{\"event\":\"RESUME\"}\n{\"return\":\"text\"}\n",
                "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n",
            ],
        );
        let mut qmp = Qmp::connect(&path, Duration::from_secs(5)).unwrap();
        assert_eq!(qmp.human("info usernet").unwrap(), "text");
        let error = qmp.execute("nonsense", json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused nonsense: no");
    }
}
