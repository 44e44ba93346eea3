//! What strict templates look up, and what they refuse.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use serde_json::{Value, json};
use templates::{Format, OUTPUT_LIMIT, Problem, RenderError, Template, Values};

fn text(source: &str, values: Value) -> Result<String, RenderError> {
    let template = Template::parse("etc/x", source, Format::Text).unwrap();
    template.render(&Values::new(&values).unwrap())
}

#[test]
fn errors_name_template_line_and_key_and_no_value() {
    let error = text("a\n\n {{a.b}}\n", json!({ "a": { "c": "hunter2" } })).unwrap_err();
    assert_eq!(error.to_string(), "etc/x: line 3: a.b: missing");
    let error = text("{{a}}", json!({ "a": "hunter2\n" })).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let values = Values::new(&json!({ "a": "hunter2" })).unwrap();
    assert!(!format!("{values:?}").contains("hunter2"));
}

#[test]
fn what_is_no_value_is_an_error() {
    let problem = |source, values| text(source, values).unwrap_err().problem;
    assert_eq!(problem("{{a}}", json!({})), Problem::Missing);
    assert_eq!(problem("{{a.b}}", json!({ "a": "x" })), Problem::Missing);
    assert_eq!(problem("{{.a}}", json!({ "a": "x" })), Problem::Missing);
    assert_eq!(problem("{{a}}", json!({ "a": null })), Problem::Null);
    assert_eq!(problem("{{a}}", json!({ "a": {} })), Problem::Object);
    assert_eq!(problem("{{a}}", json!({ "a": [] })), Problem::List);
    assert_eq!(problem("{{{a}}}", json!({ "a": 1 })), Problem::NotText);
    assert_eq!(problem("{{#a}}{{/a}}", json!({})), Problem::Missing);
    assert_eq!(problem("{{^a}}{{/a}}", json!({})), Problem::Missing);
    assert_eq!(problem("{{#a}}{{/a}}", json!({ "a": null })), Problem::Null);
    assert_eq!(
        problem("{{#a}}{{/a}}", json!({ "a": "x" })),
        Problem::NotASection
    );
}

#[test]
fn sections_are_of_lists_objects_and_booleans() {
    let render = |source, values| text(source, values).unwrap();
    let list = json!({ "l": [{ "n": 1 }, { "n": 2 }], "n": 9, "e": [] });
    assert_eq!(
        render("{{#l}}{{.n}}/{{n}} {{/l}}", list.clone()),
        "1/9 2/9 "
    );
    assert_eq!(
        render("{{#e}}x{{/e}}{{^e}}none{{/e}}{{^l}}x{{/l}}", list),
        "none"
    );
    let flags = json!({ "t": true, "f": false, "o": { "t": true } });
    assert_eq!(
        render("{{#t}}t{{/t}}{{#f}}f{{/f}}{{^f}}F{{/f}}", flags.clone()),
        "tF"
    );
    assert_eq!(render("{{#o}}{{#.t}}{{.t}}{{/.t}}{{/o}}", flags), "true");
    let optional = json!({ "n": null, "s": "", "o": { "k": "v" } });
    let source = "{{#x?}}x{{/x?}}{{^x?}}X{{/x?}}{{^n?}}N{{/n?}}{{#s?}}[{{.}}]{{/s?}}{{#o?}}{{.k}}{{/o?}}{{^o?}}x{{/o?}}";
    assert_eq!(render(source, optional), "XN[]v");
}

#[test]
fn output_and_loops_are_bounded() {
    let long = "x".repeat(100_000);
    let items: Vec<u8> = vec![0; OUTPUT_LIMIT / 100_000 + 2];
    let error = text(
        &format!("{{{{#l}}}}{long}{{{{/l}}}}"),
        json!({ "l": items }),
    )
    .unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge);
    let items: Vec<u8> = vec![0; 1100];
    let error = text(
        "{{#l}}{{#m}}{{/m}}{{/l}}",
        json!({ "l": items, "m": items }),
    )
    .unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge);
}
