//! Templates of existing images: what their renderer, cbroglie/mustache 1.4.0, printed for the cases
//! in `compat/cases.json`, and where we differ from it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use serde_json::{Value, json};
use templates::compat::{Data, FileName, Mode, Mustache, WarningKind};
use templates::{ParseError, Problem, SyntaxError};

fn render(source: &str, values: &Value, mode: Mode) -> Result<String, Problem> {
    let template = Mustache::parse("t", source).unwrap();
    let rendered = template.render(&Data::new(values, mode).unwrap());
    rendered
        .map(|(text, _)| text)
        .map_err(|error| error.problem)
}

#[test]
fn what_the_existing_renderer_prints_is_rendered() {
    let file: Value = serde_json::from_str(include_str!("compat/cases.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 300, "{}", cases.len());
    let differs = |case: &&Value| {
        let template = case["template"].as_str().unwrap();
        let rendered = render(template, &file["data"], Mode::Unsafe);
        rendered.as_deref().ok() != case["expected"].as_str()
    };
    let different: Vec<&Value> = cases.iter().filter(differs).collect();
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn lists_have_commas_and_null_and_objects_are_errors() {
    let values = json!({ "l": ["a", 1, true, ["<"]], "n": null, "o": {}, "m": [null] });
    assert_eq!(
        render("{{l}}", &values, Mode::Safe).unwrap(),
        "[a, 1, true, [&lt;]]"
    );
    assert_eq!(render("{{n}}", &values, Mode::Safe), Err(Problem::Null));
    assert_eq!(render("{{m}}", &values, Mode::Safe), Err(Problem::Null));
    assert_eq!(render("{{o}}", &values, Mode::Safe), Err(Problem::Object));
}

#[test]
fn safe_templates_see_escapes_and_undecoded_keys() {
    let values = json!({ "v": "a\nüb\u{7}\"\\", "r#base64": "aGk=" });
    let source = "{{{v}}} {{r#base64}} {{r}}";
    assert_eq!(
        render(source, &values, Mode::Safe).unwrap(),
        "a\\nb\\u0007\"\\ aGk= "
    );
    assert_eq!(
        render(source, &values, Mode::Unsafe).unwrap(),
        "a\nüb\u{7}\"\\  hi"
    );
}

#[test]
fn what_is_missing_is_reported_once() {
    let template =
        Mustache::parse("etc/x", "{{a}}\n{{#l}}{{b}}{{/l}}{{#z}}{{/z}}{{#c}}{{/c}}").unwrap();
    let data = Data::new(&json!({ "l": [1, 2], "z": 0 }), Mode::Safe).unwrap();
    let (_, warnings) = template.render(&data).unwrap();
    let seen: Vec<_> = warnings
        .iter()
        .map(|w| (w.line, w.key.as_str(), w.kind))
        .collect();
    let (missing, zero) = (WarningKind::Missing, WarningKind::Zero);
    assert_eq!(seen, [(1, "a", missing), (2, "b", missing), (2, "z", zero)]);
    let shown = warnings.first().unwrap().to_string();
    assert_eq!(shown, "etc/x: line 1: a: missing, rendered as nothing");
}

#[test]
fn partials_are_refused() {
    for source in ["{{> p}}", "{{<p}}{{/p}}", "{{$b}}{{/b}}"] {
        let parsed = Mustache::parse("t", source);
        let Err(ParseError::Syntax {
            source: SyntaxError::Include { .. },
            ..
        }) = parsed
        else {
            panic!("{parsed:?}");
        };
    }
}

#[test]
fn file_names_say_mode_and_permissions() {
    let parse = |name| {
        let parsed = FileName::parse(name)?;
        Some((parsed.destination, parsed.mode, parsed.permissions))
    };
    let some = |name: &str, mode, permissions| Some((name.to_owned(), mode, permissions));
    assert_eq!(parse("x.toml.mustache"), some("x.toml", Mode::Safe, None));
    assert_eq!(parse("x.mustache_unsafe"), some("x", Mode::Unsafe, None));
    assert_eq!(parse("x.mustache_640"), some("x", Mode::Safe, Some(0o640)));
    assert_eq!(
        parse("x.mustache_unsafe_0600"),
        some("x", Mode::Unsafe, Some(0o600))
    );
    for name in [
        "x",
        ".mustache",
        "x.mustaches",
        "x.mustache_",
        "x.mustache_64",
        "x.mustache_00640",
        "x.mustache_680",
        "x.mustache_0600_unsafe",
        "x.mustache_unsafe_",
        "x.mustache_+64",
        "x.mustache.bak",
    ] {
        assert_eq!(parse(name), None, "{name}");
    }
}

#[test]
fn output_is_bounded() {
    let items: Vec<u8> = vec![0; 1100];
    let values = json!({ "l": items });
    let nested = "{{#l}}{{#l}}{{/l}}{{/l}}";
    // Numbers are no scopes: the outer list is found again.
    assert_eq!(render(nested, &values, Mode::Safe), Err(Problem::TooLarge));
}
