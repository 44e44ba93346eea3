//! Values as Go's `fmt` prints them, as its HTML escaping escapes them, and what its Mustache engine
//! takes for false.
//!
//! I/O: none.

use serde_json::{Number, Value};

use crate::format::Problem;

/// A variable's text.
pub(super) fn text(value: &Value) -> Result<String, Problem> {
    match value {
        Value::Null => Err(Problem::Null),
        Value::Object(_) => Err(Problem::Object),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number_text(number)),
        Value::String(text) => Ok(text.clone()),
        Value::Array(items) => {
            let items: Result<Vec<String>, Problem> = items.iter().map(text).collect();
            Ok(format!("[{}]", items?.join(", ")))
        }
    }
}

fn number_text(number: &Number) -> String {
    let float = match number.as_f64() {
        Some(float) if number.is_f64() => float,
        _ => return number.to_string(),
    };
    let scientific = format!("{float:e}");
    let parts = scientific.split_once('e');
    let parts = parts.and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?)));
    match parts {
        // YAML reads `-0` as an integer.
        _ if float == 0.0 => "0".to_owned(),
        Some((digits, power)) if !(-4..6).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => float.to_string(),
    }
}

pub(super) fn is_zero(number: &Number) -> bool {
    number.as_f64() == Some(0.0)
}

/// Whether a section of it is rendered.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => !is_zero(number),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// As Go's `template.HTMLEscapeString`.
pub(super) fn escape_html(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}
