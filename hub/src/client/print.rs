//! Answers, for people or as JSON.
//!
//! I/O: prints.

use std::io::Write;

use anyhow::Context;
use serde_json::Value as Json;

use super::commands::AdminRequest;

/// What is shown of each kind of entry, if it has it.
const COLUMNS: [&str; 16] = [
    "id",
    "at",
    "name",
    "measurement_id",
    "attestation_type",
    "service",
    "kind",
    "event",
    "actor",
    "builder",
    "ip_address",
    "address",
    "network",
    "is_active",
    "last_contact",
    "created_at",
];

pub(super) fn answer(request: &AdminRequest, answer: Json, as_json: bool) -> anyhow::Result<()> {
    let text = match &answer {
        _ if as_json => format!("{answer}\n"),
        Json::Null => format!("done: {} {}\n", request.method, request.path),
        answer => match answer.get("entries").and_then(Json::as_array) {
            Some(entries) => table(entries),
            None => format!("{answer:#}\n"),
        },
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write to standard output")
}

fn table(entries: &[Json]) -> String {
    let has = |column: &&&str| entries.iter().any(|entry| entry.get(**column).is_some());
    let columns: Vec<&str> = COLUMNS.iter().filter(has).copied().collect();
    let mut rows = vec![
        columns
            .iter()
            .map(|column| (*column).to_owned())
            .collect::<Vec<_>>(),
    ];
    rows.extend(
        entries
            .iter()
            .map(|entry| columns.iter().map(|c| cell(entry.get(c))).collect()),
    );
    let width = |index: usize| {
        rows.iter()
            .filter_map(|row| row.get(index))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| width(index).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Without control characters: names come from elsewhere, and this is a terminal.
fn cell(value: Option<&Json>) -> String {
    let text = match value {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_aligned_and_harmless() {
        let entries = [
            json!({"name": "a", "is_active": true, "unknown": 1}),
            json!({"name": "long\u{1b}[31m", "is_active": false}),
        ];
        let expected = "name       is_active\na          true\nlong\u{fffd}[31m  false\n";
        assert_eq!(table(&entries), expected);
    }
}
