//! The text of the page.
//!
//! What needs attention is marked, in words and in colour.
//!
//! I/O: none.

mod table;

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value as Json;

use table::{Cell, Table};

use super::{BUILDERS, EVENTS, MEASUREMENTS};
use crate::records::Page;
use crate::text;

/// A certificate that ends within this time is marked.
const SOON_DAYS: i64 = 14;
const DAY: i64 = 24 * 60 * 60 * 1_000_000;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>builderhub</title>\n\
    <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n";

/// What the page shows.
pub(super) struct Overview {
    /// When it was asked for.
    pub(super) now: i64,
    /// Builders, as admins see them.
    pub(super) builders: Vec<Json>,
    /// Measurements, as admins see them.
    pub(super) measurements: Vec<Json>,
    /// How many builders run a measurement, by its name.
    pub(super) running: HashMap<String, i64>,
    /// Events, the latest first.
    pub(super) events: Vec<Json>,
}

impl Overview {
    /// The page.
    pub(super) fn render(&self) -> String {
        let mut html = String::from(HEAD);
        // Writing to a string does not fail.
        let _ = writeln!(
            html,
            "<h1>builderhub</h1>\n<p>As of {}. Times are UTC.</p>",
            text::time(self.now)
        );
        self.builders().write(&mut html);
        self.measurements().write(&mut html);
        self.events().write(&mut html);
        html.push_str("</body>\n</html>\n");
        html
    }

    fn builders(&self) -> Table<'_> {
        let row = |builder: &Json| {
            let text = |key| Cell::plain(field(builder, key));
            vec![
                text("name"),
                text("ip_address"),
                text("dns_name"),
                text("network"),
                Cell::state(is_active(builder)),
                self.measurement_of(builder),
                self.certificate_of(builder),
                Cell::or(field(builder, "last_contact"), "never"),
            ]
        };
        Table {
            id: "builders",
            title: "Builders",
            summary: summary(&self.builders, BUILDERS),
            command: is_cut(&self.builders, BUILDERS).then_some("builderhub builder list"),
            columns: &[
                "Name",
                "Address",
                "DNS name",
                "Network",
                "State",
                "Runs",
                "Certificate ends",
                "Last contact",
            ],
            rows: self.builders.iter().map(row).collect(),
        }
    }

    fn measurements(&self) -> Table<'_> {
        let row = |entry: &Json| {
            let name = field(entry, "measurement_id");
            let builders = self.running.get(&name).copied().unwrap_or(0).to_string();
            vec![
                Cell::plain(name),
                Cell::plain(field(entry, "attestation_type")),
                Cell::state(is_active(entry)),
                Cell::plain(builders),
            ]
        };
        Table {
            id: "measurements",
            title: "Measurements",
            summary: summary(&self.measurements, MEASUREMENTS),
            command: is_cut(&self.measurements, MEASUREMENTS)
                .then_some("builderhub measurement list"),
            columns: &["Name", "Type", "State", "Builders"],
            rows: self.measurements.iter().map(row).collect(),
        }
    }

    fn events(&self) -> Table<'_> {
        let row = |event: &Json| {
            let text = |key| Cell::plain(field(event, key));
            let who = format!("{} {}", field(event, "actor_kind"), field(event, "actor"));
            vec![
                text("at"),
                Cell::plain(who),
                text("event"),
                text("builder"),
                text("measurement_id"),
                text("address"),
                text("detail"),
            ]
        };
        let is_cut = is_cut(&self.events, EVENTS);
        Table {
            id: "events",
            title: "Recent events",
            summary: match self.events.len() {
                0 => "None yet.".to_owned(),
                count if is_cut => format!("The last {count}."),
                count => format!("{count}, the latest first."),
            },
            command: is_cut.then_some("builderhub events"),
            columns: &[
                "Time",
                "Who",
                "What",
                "Builder",
                "Measurement",
                "From",
                "Details",
            ],
            rows: self.events.iter().map(row).collect(),
        }
    }

    /// What a builder was last heard of running, and whether that is still allowed.
    fn measurement_of(&self, builder: &Json) -> Cell {
        let name = field(builder, "measurement_id");
        let mut entries = self.measurements.iter();
        let entry = entries.find(|entry| field(entry, "measurement_id") == name);
        let is_whole = !is_cut(&self.measurements, MEASUREMENTS);
        let remark = match entry {
            _ if name.is_empty() => "",
            Some(entry) if !is_active(entry) => "no longer active",
            None if is_whole => "deleted",
            _ => "",
        };
        Cell::with_remark(name, remark)
    }

    /// When the first of a builder's certificates ends.
    fn certificate_of(&self, builder: &Json) -> Cell {
        let ends = field(builder, "certificate_expires");
        let soon = SOON_DAYS.saturating_mul(DAY).saturating_add(self.now);
        // In this notation, times sort like text.
        let remark = match ends.as_str() {
            "" => return Cell::or(ends, "none"),
            ends if ends <= text::time(self.now).as_str() => "has ended",
            ends if ends <= text::time(soon).as_str() => "ends soon",
            _ => "",
        };
        Cell::with_remark(ends, remark)
    }
}

fn summary(entries: &[Json], page: Page) -> String {
    let active = entries.iter().filter(|entry| is_active(entry)).count();
    match entries.len() {
        0 => "None yet.".to_owned(),
        count if is_cut(entries, page) => format!("The first {count}, {active} of them active."),
        count => format!("{count}, {active} active."),
    }
}

/// Whether there may be more than are shown.
fn is_cut(entries: &[Json], page: Page) -> bool {
    i64::try_from(entries.len()).map_or(true, |count| count >= page.limit)
}

fn field(entry: &Json, key: &str) -> String {
    let text = entry.get(key).and_then(Json::as_str);
    text.unwrap_or_default().to_owned()
}

fn is_active(entry: &Json) -> bool {
    let active = entry.get("is_active").and_then(Json::as_bool);
    active.unwrap_or(false)
}

#[cfg(test)]
mod tests;
