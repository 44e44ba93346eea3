//! Where values may stand in each format, and that templates which put them elsewhere are refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use serde_json::{Value, json};
use templates::{Format, ParseError, Problem, Template, Values};

fn parse(format: Format, source: &str) -> Result<Template, ParseError> {
    Template::parse("t", source, format)
}

fn render(format: Format, source: &str, values: Value) -> Result<String, Problem> {
    let template = parse(format, source).unwrap();
    let rendered = template.render(&Values::new(&values).unwrap());
    rendered.map_err(|error| error.problem)
}

fn refused(format: Format, sources: &[&str]) {
    for source in sources {
        let parsed = parse(format, source);
        let Err(ParseError::Misplaced { .. }) = parsed else {
            panic!("{source:?}: {parsed:?}");
        };
    }
}

#[test]
fn toml_has_values_and_basic_strings() {
    let source = "# {not} a tag\n[a]\n\"k\" = {{s}} # c\nn = { x = {{n}}, y = [ {{b}}, 'l' ] }\n\
                  l = {{l}}\nu = \"http://{{s}}:{{n}}/\"\nm = \"\"\"\nx{{s}}\"\"\"\"\nz = [\n{{#l}}\n  {{.}},\n{{/l}}\n]\n";
    let values = json!({ "s": "a\"b\nc", "n": 7, "b": true, "l": ["x", "y"] });
    let expected = "# {not} a tag\n[a]\n\"k\" = \"a\\\"b\\u000Ac\" # c\nn = { x = 7, y = [ true, 'l' ] }\n\
                    l = [\"x\", \"y\"]\nu = \"http://a\\\"b\\u000Ac:7/\"\nm = \"\"\"\nxa\\\"b\\u000Ac\"\"\"\"\nz = [\n  \"x\",\n  \"y\",\n]\n";
    let rendered = render(Format::Toml, source, values).unwrap();
    assert_eq!(rendered, expected);
    Format::Toml.parse(&rendered).unwrap();
}

#[test]
fn toml_has_no_values_elsewhere() {
    refused(
        Format::Toml,
        &[
            "{{x}} = 1\n",
            "[{{x}}]\n",
            "a{{x}} = 1\n",
            "\"{{x}}\" = 1\n",
            "a = '{{x}}'\n",
            "a = '''{{x}}'''\n",
            "a = 1 # {{x}}\n",
            "a = 1{{x}}\n",
            "a = {{x}}1\n",
            "a = {{x}}{{x}}\n",
            "a = \"\\{{x}}\"\n",
            "a = \"\"{{x}}\n",
            "a = { {{x}} = 1 }\n",
            "a = { b = 1, {{x}} = 1 }\n",
            "a = [ {{x}} {{x}} ]\n",
            "a = {{x}} = 1\n",
        ],
    );
}

#[test]
fn toml_text_is_put_in_as_value_or_document() {
    let source = "a = {{{value}}}\n{{{document}}}\n[next]\nb = 1\n";
    let good = json!({ "value": "[ 'x', # c\n 1.5, {k = 2000-01-01}, inf ]\n", "document": "[[r]]\nname = 'x'" });
    let rendered = render(Format::Toml, source, good).unwrap();
    let expected =
        "a = [\"x\", 1.5, { \"k\" = 2000-01-01 }, inf]\n[[r]]\nname = 'x'\n\n[next]\nb = 1\n";
    assert_eq!(rendered, expected);
    Format::Toml.parse(&rendered).unwrap();
    for (value, line) in [
        ("1\nc = 2", 1),
        ("1\n[t]", 1),
        ("[1,\n", 2),
        ("", 1),
        ("\"\"\"", 1),
    ] {
        let bad = json!({ "value": value, "document": "" });
        let error = render(Format::Toml, source, bad).unwrap_err();
        assert!(
            matches!(error, Problem::Fragment { .. }),
            "{value:?} {line} {error}"
        );
    }
    let bad = json!({ "value": "1", "document": "[x]\ny = \n" });
    let line = Problem::Fragment { line: 2 };
    assert_eq!(render(Format::Toml, source, bad), Err(line));
    // What follows a document must not fall into a table that the document opened.
    refused(
        Format::Toml,
        &[
            "{{{x}}}\na = 1\n",
            "{{#y}}\n{{{x}}}\na = 1\n{{/y}}\n",
            "{{#y}}\na = 1\n{{{x}}}\n{{/y}}\n",
        ],
    );
    parse(
        Format::Toml,
        "a = 1\n{{#y?}}\n{{{x}}}\n{{/y?}}\n# c\n{{{z}}}\n[t]\n",
    )
    .unwrap();
    refused(
        Format::Toml,
        &[
            "{{#y?}}\n{{{x}}}\n{{/y?}}\na = 1\n",
            "a = \"{{{x}}}\"\n",
            "# {{{x}}}\n",
        ],
    );
}

#[test]
fn yaml_has_values_and_double_quotes() {
    let source = "a: {{s}}  # it's\nb:\n  - {{n}}\n  - \"k\": {{b}}\n    u: \"x {{s}}\"\nf: [{{n}}, {{s}}]\ng: {h: {{n}}}\n\
                  t: |\n  text: \"x\"\n\n  - more\nl: {{l}}\n{{#l}}\n- {{.}}\n{{/l}}\n";
    let values = json!({ "s": "a: b\n#", "n": 7, "b": false, "l": ["x", 1] });
    let expected = "a: \"a: b\\u000A#\"  # it's\nb:\n  - 7\n  - \"k\": false\n    u: \"x a: b\\u000A#\"\nf: [7, \"a: b\\u000A#\"]\ng: {h: 7}\n\
                    t: |\n  text: \"x\"\n\n  - more\nl: [\"x\", 1]\n- \"x\"\n- 1\n";
    assert_eq!(render(Format::Yaml, source, values).unwrap(), expected);
}

#[test]
fn yaml_has_no_values_elsewhere() {
    refused(
        Format::Yaml,
        &[
            "{{x}}: 1\n",
            "- {{x}}: 1\n",
            "- {{x}} : 1\n",
            "a:{{x}}\n",
            "a: b{{x}}\n",
            "a: b {{x}}\n",
            "a: {{x}} b\n",
            "a: {{x}}b\n",
            "a: {{x}}{{x}}\n",
            "a: '{{x}}'\n",
            "a: 'it''s {{x}}'\n",
            "'a'': {{x}}'\n",
            "a: |\n  {{x}}\n",
            "- a: >-\n   k: {{x}}\n",
            "- |\n k: {{x}}\n",
            "a: # {{x}}\n",
            "# {{x}}\n",
            "a: &{{x}} 1\n",
            "a: !t {{x}}\n",
            "a: *{{x}}\n",
            "\"{{x}}\": 1\n",
            "- \"{{x}}\" : 1\n",
            "f: [ a{{x}} ]\n",
            "f: { {{x}}: 1 }\n",
            "f: { {{x}} }\n",
            "f: { \"{{x}}\" }\n",
            "f: { a: 1, {{x}} }\n",
            "f: { a: 1, # c\n  {{x}} }\n",
            "f: [ {{x}} : 1 ]\n",
            "---{{x}}\n",
            "\"a\" {{x}}\n",
            "\"{{x}}\"\n",
            "? a\n  - {{x}}\n",
            "a: b\n  - {{x}}\n",
            "a: b\n\n  c\n  d: {{x}}\n",
            "- a\n - {{x}}\n",
            "{{#y}}\na: b\n{{/y}}\n  c: {{x}}\n",
            "a: \"\\{{x}}\"\n",
        ],
    );
    parse(
        Format::Yaml,
        "a: b # c\nb:\n  c: d\n  e: {{x}}\n- f\n- {{x}}\n",
    )
    .unwrap();
    parse(
        Format::Yaml,
        "{{#y}}\na: b\n{{/y}}\nc: {{x}}\n---\nd: {{x}}\n",
    )
    .unwrap();
    // The same line is a key of a mapping again once the block scalar is over.
    parse(Format::Yaml, "- a: |\n    text\n  b: {{x}}\n").unwrap();
    parse(Format::Yaml, "a:\n  b: |\n\n    text\n  c: {{x}}\n").unwrap();
    parse(Format::Yaml, "a: 'it''s'\nb: {{x}}\n").unwrap();
}

#[test]
fn json_has_values_and_strings() {
    let source = "{ \"a\": {{s}}, \"b\": [ {{n}}, \"x{{s}}\" ], \"c\": {{{o}}} }";
    let values = json!({ "s": "a\"\n", "n": 1.5, "o": "{ \"k\": [null, 1e3] }" });
    let rendered = render(Format::Json, source, values).unwrap();
    let read: Value = serde_json::from_str(&rendered).unwrap();
    let expected = json!({ "a": "a\"\n", "b": [1.5, "xa\"\n"], "c": { "k": [null, 1000.0] } });
    assert_eq!(read, expected);
    for fragment in ["{}, \"d\": 1", "{\"k\":1,\"k\":2}", "", "1 2"] {
        let values = json!({ "o": fragment });
        let line = Problem::Fragment { line: 1 };
        assert_eq!(
            render(Format::Json, "{{{o}}}", values),
            Err(line),
            "{fragment}"
        );
    }
    refused(
        Format::Json,
        &[
            "{ {{x}}: 1 }",
            "{ \"{{x}}\": 1 }",
            "{ \"a\": 1{{x}} }",
            "{ \"a\": {{x}}{{x}} }",
            "{ \"a\": {{x}}: 1 }",
            "{ \"a\" {{x}} }",
            "[ \"\\{{x}}\" ]",
            "[ \"{{{x}}}\" ]",
        ],
    );
}

#[test]
fn env_files_have_values_and_double_quotes() {
    let source = "# c\nA={{s}}\nB=\"x {{s}}\"\nC='lit'\nD={{n}}\n";
    let values = json!({ "s": "a b;$(x)`y`\"\\", "n": 8 });
    let expected = "# c\nA=\"a b;\\$(x)\\`y\\`\\\"\\\\\"\nB=\"x a b;\\$(x)\\`y\\`\\\"\\\\\"\nC='lit'\nD=\"8\"\n";
    assert_eq!(render(Format::Env, source, values).unwrap(), expected);
    refused(
        Format::Env,
        &[
            "{{x}}=1\n",
            "A{{x}}=1\n",
            "A=b{{x}}\n",
            "A={{x}}b\n",
            "A='{{x}}'\n",
            "# {{x}}\n",
            "A={{x}}{{x}}\n",
            "A={{{x}}}\n",
            "A= {{x}}\n",
            "A=\"\\{{x}}\"\n",
            // Part of A's value: the line before does not end.
            "A=b\\\nB={{x}}\n",
            "A=\\\nB={{x}}\n",
            "A='b'\\\nB={{x}}\n",
            "A=\"b\"\\\nB={{x}}\n",
            "A=b\\\r\nB={{x}}\n",
            // A string to a shell, and not to systemd.
            "A=b\"{{x}}\"\n",
            "A=b\"c\"\nB={{x}}\n",
            "A=it's\nB={{x}}\n",
            "A='b'c\"{{x}}\"\n",
            "A=\\\"{{x}}\"\n",
        ],
    );
    parse(
        Format::Env,
        "A=b\\ c\\\\\nB='c'\"{{x}}\" # c\nC=\"d\\\n\"\nD={{x}}\n# e\\f\nE={{x}}\n",
    )
    .unwrap();
}

#[test]
fn haproxy_has_plain_words_behind_the_first() {
    let source = "frontend {{n}}\n  bind [::1]:{{p}} name \"a {{n}}\"\n";
    let values = json!({ "n": "x-1.y", "p": 443 });
    let expected = "frontend x-1.y\n  bind [::1]:443 name \"a x-1.y\"\n";
    assert_eq!(render(Format::Haproxy, source, values).unwrap(), expected);
    refused(
        Format::Haproxy,
        &[
            "{{x}} a\n",
            "  {{x}}\n",
            "use_{{x}} a\n",
            "a # {{x}}\n",
            "a '{{x}}'\n",
            "a \\{{x}}\n",
            "a {{{x}}}\n",
        ],
    );
    for (value, problem) in [
        ("a b", Problem::Character),
        ("%[env(X)]", Problem::Character),
        ("${X}", Problem::Character),
        ("-f", Problem::Character),
        ("a,b", Problem::Character),
        ("é", Problem::Character),
        ("a\nb", Problem::Control),
        ("", Problem::Empty),
    ] {
        let values = json!({ "x": value });
        assert_eq!(
            render(Format::Haproxy, "a {{x}}\n", values),
            Err(problem),
            "{value}"
        );
    }
}

#[test]
fn text_has_lines_and_raw_text() {
    let values = json!({ "s": "a'\"é", "r": "x\ny\n" });
    assert_eq!(
        render(Format::Text, "{{s}}-{{{r}}}", values).unwrap(),
        "a'\"é-x\ny\n"
    );
    let values = json!({ "s": "a\nb" });
    assert_eq!(render(Format::Text, "{{s}}", values), Err(Problem::Control));
}
