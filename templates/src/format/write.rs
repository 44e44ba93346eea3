//! Values as the formats write them.
//!
//! One double-quoted string serves TOML, YAML and JSON: `\uXXXX` is an escape in all three, for every
//! character that is not printable in one of them.
//!
//! I/O: none.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::Problem;

/// A whole value: quoted text, a number, a boolean, a list of those.
pub(super) fn whole(value: &Value, is_toml: bool, out: &mut String) -> Result<(), Problem> {
    match value {
        Value::Null => return Err(Problem::Null),
        Value::Object(_) => return Err(Problem::Object),
        Value::Bool(flag) => out.push_str(flag_text(*flag)),
        Value::Number(number) if is_toml && number.is_u64() && !number.is_i64() => {
            return Err(Problem::Number);
        }
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => quoted(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                whole(item, is_toml, out)?;
            }
            out.push(']');
        }
    }
    Ok(())
}

/// A value within double quotes.
pub(super) fn inside(value: &Value, out: &mut String) -> Result<(), Problem> {
    escape(&single(value)?, out);
    Ok(())
}

/// A value without line breaks, as it is.
pub(super) fn line(value: &Value, out: &mut String) -> Result<(), Problem> {
    let text = single(value)?;
    if text.chars().any(|c| c.is_control() || is_separator(c)) {
        return Err(Problem::Control);
    }
    out.push_str(&text);
    Ok(())
}

/// The text of a value that is not composed.
pub(super) fn single(value: &Value) -> Result<String, Problem> {
    match value {
        Value::Null => Err(Problem::Null),
        Value::Object(_) => Err(Problem::Object),
        Value::Array(_) => Err(Problem::List),
        Value::Bool(flag) => Ok(flag_text(*flag).to_owned()),
        Value::Number(number) => Ok(match number.as_f64() {
            // Never with an exponent, which many readers of plain text do not know.
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        }),
        Value::String(text) => Ok(text.clone()),
    }
}

/// Any JSON value, on one line.
pub(super) fn json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(flag_text(*flag)),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => quoted(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                json(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                quoted(key, out);
                out.push_str(": ");
                json(member, out);
            }
            out.push('}');
        }
    }
}

/// Text in double quotes.
pub(super) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // U+FEFF and the two behind it are not printable in YAML.
            c if c.is_control() || is_separator(c) || "\u{feff}\u{fffe}\u{ffff}".contains(c) => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Line and paragraph separator, which are line breaks to some.
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

fn flag_text(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// A number as TOML, JSON and YAML 1.1 all read it: a float has a point, its exponent a sign.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// See [`number_text`].
pub(super) fn float_text(float: f64) -> String {
    let text = format!("{float:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floats_have_a_point_and_their_exponent_a_sign() {
        let text = [1.0, -0.5, 1e300, 1.5e-9, 1e16].map(float_text);
        assert_eq!(text, ["1.0", "-0.5", "1.0e+300", "1.5e-9", "1.0e+16"]);
        assert_eq!(single(&json!(1e20)).unwrap(), "100000000000000000000");
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        let mut out = String::new();
        assert_eq!(
            whole(&json!([1, null]), false, &mut out),
            Err(Problem::Null)
        );
        assert_eq!(whole(&json!({}), false, &mut out), Err(Problem::Object));
        assert_eq!(
            whole(&json!(u64::MAX), true, &mut out),
            Err(Problem::Number)
        );
        assert_eq!(whole(&json!(u64::MAX), false, &mut out), Ok(()));
        assert_eq!(inside(&json!([]), &mut out), Err(Problem::List));
        for text in ["a\nb", "\u{85}", "\u{2028}", "\u{7f}", "a\tb", "\0"] {
            assert_eq!(line(&json!(text), &mut out), Err(Problem::Control));
        }
    }
}
