//! What a trusted node has answered, and where it goes.
//!
//! I/O: writes the answer to its file or to standard output, and what was found to standard error.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::request::Request;
use crate::certificates::{self, Described};
use crate::http::Response;
use crate::judgement::{self, Judgement, Occasion};
use crate::output_file;
use crate::report::{Report, printable};

/// An answer that says yes.
pub(super) struct Answer {
    body: Vec<u8>,
    certificates: Vec<Described>,
}

impl Answer {
    /// Refuses answers that are not what was asked for.
    pub(super) fn of(response: Response) -> anyhow::Result<Self> {
        let Response { status, body } = response;
        ensure!(status.is_success(), "expected status 200, got {status}");
        Ok(Self {
            certificates: certificates::describe(&body),
            body,
        })
    }

    /// Writes the answer to its file.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        output_file::write(path, &self.body)
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("answer       {} bytes", self.body.len())];
        for certificate in &self.certificates {
            let Described {
                sha256,
                names,
                not_before,
                not_after,
            } = certificate;
            lines.push(format!("  certificate SHA-256 {sha256}"));
            lines.push(format!("  of          {}", names.join(", ")));
            lines.push(format!("  valid       from {not_before} to {not_after}"));
        }
        lines
    }

    fn to_json(&self, is_in_file: bool) -> Value {
        let text = std::str::from_utf8(&self.body).ok();
        let mut value = json!({
            "size": self.body.len(),
            "certificates": self.certificates,
        });
        if let Some(fields) = value.as_object_mut().filter(|_| !is_in_file) {
            match text {
                Some(text) => fields.insert("text".to_owned(), json!(text)),
                None => fields.insert(
                    "base64".to_owned(),
                    json!(BASE64_STANDARD.encode(&self.body)),
                ),
            };
        }
        value
    }
}

/// Prints everything that goes to no file. What is left for standard output is a document.
pub(super) fn report(
    request: &Request,
    judgement: &Judgement,
    occasion: &Occasion,
    answer: Option<&Answer>,
) -> anyhow::Result<Report> {
    let outcome = judgement.outcome;
    if request.is_json {
        let mut document = judgement::document(judgement, occasion);
        let answer = answer.map(|answer| answer.to_json(request.out_response.is_some()));
        document.insert("answer".to_owned(), json!(answer));
        let text = serde_json::to_string_pretty(&document)? + "\n";
        return Ok(Report { text, outcome });
    }
    let lines = answer.map(Answer::lines).unwrap_or_default();
    let text = judgement::text(judgement, occasion, &lines);
    eprint!("{}", printable(&text));
    if let (None, Some(answer)) = (&request.out_response, answer) {
        print(&answer.body).context("write to standard output")?;
    }
    let text = String::new();
    Ok(Report { text, outcome })
}

/// Byte by byte, unless a person would see it.
fn print(body: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        let text = String::from_utf8_lossy(body);
        writeln!(stdout, "{}", printable(text.trim_end()))?;
    } else {
        stdout.write_all(body)?;
    }
    stdout.flush()
}
