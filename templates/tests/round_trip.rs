//! Any value, rendered and read back by another parser, is the same value or a clear error.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use templates::{Format, Problem, Template, Values};

/// Text as an attacker, or chance, would have it.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "\n",
            "\r\n",
            "\"",
            "\"\"\"",
            "'",
            "'''",
            "\\",
            "\\n",
            "\\u0041",
            "$",
            "$(id)",
            "`",
            "${x}",
            "%",
            "#",
            " #",
            ": ",
            "- ",
            "]",
            "}",
            ",",
            "=",
            "\n[x]\n",
            "\nb = 1\n",
            "\n- c: d\n",
            "{{x}}",
            "<%",
            "\u{0}",
            "\t",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{feff}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1ffff}",
            "\u{10ffff}",
            "!",
            "&a",
            "*a",
            "~",
            "null",
            "true",
            "1",
            "---",
            "...",
            "%YAML",
            "|",
            ">",
            "é",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => hostile().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        // serde_json, which reads them back, rounds the last digit of others.
        1 => any::<i16>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        1 => proptest::sample::select(vec![1e16, 1e100, -1.5e-9]).prop_map(Value::from),
    ]
}

fn render(format: Format, source: &str, values: &Value) -> Result<String, Problem> {
    let template = Template::parse("t", source, format).unwrap();
    let rendered = template.render(&Values::new(values).unwrap());
    rendered.map_err(|error| error.problem)
}

/// What a value is within quotes.
fn inside(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap().to_string(),
        other => other.to_string(),
    }
}

/// What every structured template below has to be read as.
fn expected(value: &Value, list: &[Value]) -> Value {
    let quoted = format!("<{}>", inside(value));
    json!({ "a": value, "l": list, "in": { "q": quoted, "z": 1 }, "rows": list })
}

/// The value of an environment file's variable, by the rules of systemd's reader and of a shell.
fn read_env(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| {
        let (key, value) = line.split_once('=').unwrap();
        let inner = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut out = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            assert!(!"\"$`".contains(c), "not escaped: {line:?}");
            out.push(if c == '\\' { chars.next().unwrap() } else { c });
        }
        (key.to_owned(), out)
    });
    lines.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn toml(value in scalar(), list in proptest::collection::vec(scalar(), 0..4)) {
        let source = "a = {{v}}\nl = {{l}}\nrows = [\n{{#l}}\n  {{.}},\n{{/l}}\n]\n[in]\nq = \"<{{v}}>\"\nz = 1\n";
        let text = render(Format::Toml, source, &json!({ "v": value, "l": list })).unwrap();
        let read: toml::Table = text.parse().unwrap();
        prop_assert_eq!(serde_json::to_value(read).unwrap(), expected(&value, &list));
        prop_assert_eq!(Format::Toml.parse(&text), Ok(()));
    }

    #[test]
    fn toml_multi_line(value in scalar()) {
        let text = render(Format::Toml, "a = \"\"\"\n{{v}}\"\"\"\nb = 1\n", &json!({ "v": value })).unwrap();
        let read: toml::Table = text.parse().unwrap();
        prop_assert_eq!(serde_json::to_value(read).unwrap(), json!({ "a": inside(&value), "b": 1 }));
    }

    #[test]
    fn yaml(value in scalar(), list in proptest::collection::vec(scalar(), 0..4)) {
        let source = "a: {{v}} # c\nl: {{l}}\nin: {q: \"<{{v}}>\", z: 1}\nrows: [\n{{#l}}\n  {{.}},\n{{/l}}\n  ]\n";
        let text = render(Format::Yaml, source, &json!({ "v": value, "l": list })).unwrap();
        let read: Value = serde_yaml_ng::from_str(&text).unwrap();
        prop_assert_eq!(read, expected(&value, &list), "{}", text);
        prop_assert_eq!(Format::Yaml.parse(&text), Ok(()));
    }

    #[test]
    fn yaml_blocks(value in scalar(), list in proptest::collection::vec(scalar(), 1..4)) {
        let source = "a: |\n  text\nl:\n{{#l}}\n- k: {{.}}\n  n: \"<{{.}}>\"\n{{/l}}\nz:\n  - {{v}}\n";
        let text = render(Format::Yaml, source, &json!({ "v": value, "l": list })).unwrap();
        let read: Value = serde_yaml_ng::from_str(&text).unwrap();
        let rows: Vec<Value> = list.iter().map(|v| json!({ "k": v, "n": format!("<{}>", inside(v)) })).collect();
        prop_assert_eq!(read, json!({ "a": "text\n", "l": rows, "z": [value] }), "{}", text);
        prop_assert_eq!(Format::Yaml.parse(&text), Ok(()));
    }

    #[test]
    fn json_text(value in scalar(), list in proptest::collection::vec(scalar(), 0..4)) {
        let source = "{\"a\": {{v}}, \"l\": {{l}}, \"in\": {\"q\": \"<{{v}}>\", \"z\": 1}, \"rows\": {{l}} }";
        let text = render(Format::Json, source, &json!({ "v": value, "l": list })).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, expected(&value, &list));
    }

    #[test]
    fn json_is_yaml_too(list in proptest::collection::vec(scalar(), 0..4)) {
        let fragment = json!({ "k": list, "n": null }).to_string();
        let text = render(Format::Yaml, "a: {{{f}}}\n", &json!({ "f": fragment })).unwrap();
        let read: Value = serde_yaml_ng::from_str(&text).unwrap();
        prop_assert_eq!(read, json!({ "a": { "k": list, "n": null } }), "{}", text);
    }

    #[test]
    fn env(value in scalar()) {
        match render(Format::Env, "A={{v}}\nB=\"<{{v}}>\"\n", &json!({ "v": value })) {
            Ok(text) => {
                let read = read_env(&text);
                let plain = inside(&value);
                let expected = [("A".to_owned(), plain.clone()), ("B".to_owned(), format!("<{plain}>"))];
                prop_assert_eq!(read, expected.into());
            }
            Err(problem) => prop_assert!(matches!(problem, Problem::Control | Problem::Character)),
        }
    }

    #[test]
    fn haproxy(value in scalar()) {
        match render(Format::Haproxy, "k a {{v}} \"b {{v}}\"\n", &json!({ "v": value })) {
            Ok(text) => {
                let plain = inside(&value);
                prop_assert_eq!(&text, &format!("k a {plain} \"b {plain}\"\n"));
                let is_special = |c: char| c.is_whitespace() || "\"'\\$%#,(){}".contains(c);
                prop_assert_eq!(plain.find(is_special), None);
            }
            Err(problem) => prop_assert!(matches!(problem, Problem::Control | Problem::Character | Problem::Empty)),
        }
    }

    #[test]
    fn text(value in scalar()) {
        match render(Format::Text, "a {{v}} b\n", &json!({ "v": value })) {
            Ok(text) => {
                prop_assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\n");
                prop_assert_eq!(text, format!("a {} b\n", inside(&value)));
            }
            Err(problem) => prop_assert_eq!(problem, Problem::Control),
        }
    }

    /// No template, and nothing that is rendered, makes the parsers panic; and what is rendered from a
    /// template that was accepted has the shape that it has with harmless values, or is refused.
    #[test]
    fn any_accepted_template_keeps_its_shape(source in template(), value in hostile()) {
        // Raw text is of the format's language, whatever its shape.
        prop_assume!(!source.contains("{{{"));
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let Ok(template) = Template::parse("t", &source, format) else { continue };
            let render = |text: &str| template.render(&Values::new(&json!({ "x": text })).unwrap()).unwrap();
            let Some(harmless) = shape(format, &render("v")) else { continue };
            let text = render(&value);
            // In a template that is no document to begin with, a value may be what makes it none.
            if shape(format, &text) != Some(harmless) {
                prop_assert!(format.parse(&text).is_err(), "{:?} {:?}", source, text);
            }
        }
    }
}

/// Pieces of all three languages, and tags.
fn template() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "{{x}}",
        "{{x}}",
        "{{x}}",
        "\"{{x}}\"",
        "a",
        "b",
        "a: ",
        "- ",
        "a = ",
        " = ",
        ":",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        " ",
        "#",
        " # ",
        "|",
        ">",
        "|\n  ",
        "1",
        "\"\"\"",
        "'''",
        "\\",
        "&x ",
        "*x",
        "!t ",
        "? ",
        "---\n",
        "\"a\": ",
        "[a]\n",
    ]);
    proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// A document without its scalars, but with its keys; `None` if it is none.
fn shape(format: Format, text: &str) -> Option<Value> {
    fn strip(value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(strip).collect(),
            Value::Object(members) => members.into_iter().map(|(k, v)| (k, strip(v))).collect(),
            _ => Value::Null,
        }
    }
    let value = match format {
        Format::Toml => serde_json::to_value(text.parse::<toml::Table>().ok()?).unwrap(),
        Format::Yaml => serde_yaml_ng::from_str(text).ok()?,
        _ => serde_json::from_str(text).ok()?,
    };
    Some(strip(value))
}
