//! Reference values: every accepted form, every refused one, and comparison.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test"
)]

mod support;

use measurements::Prediction;
use measurements::reference::{AttestationType, ReferenceError, ReferenceValues, Verdict};

const A: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const B: &str = "0202020202020202020202020202020202020202020202020202020202020202";

fn parse(measurements: &str) -> Result<Vec<ReferenceValues>, ReferenceError> {
    parse_type("azure-tdx", measurements)
}

fn parse_type(kind: &str, measurements: &str) -> Result<Vec<ReferenceValues>, ReferenceError> {
    ReferenceValues::parse(&format!(
        r#"{{"measurement_id":"node","attestation_type":"{kind}","measurements":{measurements}}}"#
    ))
}

fn prediction() -> Prediction {
    support::predict(support::uki()).unwrap()
}

fn published() -> ReferenceValues {
    ReferenceValues::from_prediction("node", AttestationType::AzureTdx, &prediction())
}

#[test]
fn published_form_is_canonical() {
    let json = parse(&format!(
        r#"{{"11":"{A}","4":{{"expected":"{B}"}},"9":"{A}"}}"#
    ))
    .unwrap()[0]
        .to_json();
    assert_eq!(
        json,
        format!(
            r#"{{
  "measurement_id": "node",
  "attestation_type": "azure-tdx",
  "measurements": {{
    "4": {{
      "expected": "{B}"
    }},
    "9": {{
      "expected": "{A}"
    }},
    "11": {{
      "expected": "{A}"
    }}
  }}
}}
"#
        )
    );
    assert_eq!(
        ReferenceValues::parse(&published().to_json()).unwrap(),
        [published()]
    );
}

#[test]
fn every_form_of_a_value_is_read() {
    let any = format!(r#"{{"pcr4":{{"expected_any":["{A}","{B}"],"warnOnly":true}}}}"#);
    let values = &parse(&any).unwrap()[0].registers[&4];
    assert_eq!(
        values.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [A, B]
    );
    assert!(parse(&any).unwrap()[0].to_json().contains("expected_any"));

    let long = "ab".repeat(48);
    let tdx = format!(r#"{{"mrtd":"{long}","RTMR0":"{long}","4":"{long}"}}"#);
    for kind in ["dcap-tdx", "qemu-tdx", "gcp-tdx"] {
        let entry = &parse_type(kind, &tdx).unwrap()[0];
        assert_eq!(
            entry.registers.keys().copied().collect::<Vec<_>>(),
            [0, 1, 4]
        );
    }
}

#[test]
fn older_form_is_read_with_the_same_strictness() {
    let text = format!(r#"{{"node-1":{{"4":{{"expected":"{A}"}}}},"node-2":{{"pcr11":"{B}"}}}}"#);
    let entries = ReferenceValues::parse(&text).unwrap();
    let ids: Vec<_> = entries.iter().map(|e| e.measurement_id.as_str()).collect();
    assert_eq!(ids, ["node-1", "node-2"]);
    assert!(
        entries
            .iter()
            .all(|e| e.attestation_type == AttestationType::AzureTdx)
    );
    assert_eq!(entries[1].registers[&11][0].to_string(), B);
    for (text, expected) in [
        (
            r#"{"node-1":{}}"#.to_owned(),
            r#"."node-1": expected at least one register"#,
        ),
        (
            r#"{"node-1":[]}"#.to_owned(),
            r#"."node-1": expected an object"#,
        ),
        (
            format!(r#"{{"node-1":{{"4":"{A}"}},"node-1":{{"4":"{A}"}}}}"#),
            r#"."node-1": the key is there twice"#,
        ),
        (
            format!(r#"{{"node-1":{{"rtmr1":"{A}"}}}}"#),
            "azure-tdx has no register",
        ),
    ] {
        let error = ReferenceValues::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_refused_is_named_with_its_place() {
    let message = |result: Result<Vec<ReferenceValues>, ReferenceError>| {
        let error = result.unwrap_err();
        let source = std::error::Error::source(&error).map(|e| format!(": {e}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    for (measurements, expected) in [
        (
            format!(r#"{{"4":"{A}","4":"{A}"}}"#),
            r#".measurements."4": the key is there twice"#,
        ),
        (
            format!(r#"{{"4":"{A}","pcr4":"{A}"}}"#),
            ".measurements.pcr4: the key is there twice",
        ),
        (
            "{}".into(),
            ".measurements: expected at least one register, got none",
        ),
        ("[]".into(), ".measurements: expected an object, got a list"),
        (
            format!(r#"{{"24":"{A}"}}"#),
            r#".measurements."24": azure-tdx has no register"#,
        ),
        (
            format!(r#"{{"04":"{A}"}}"#),
            r#".measurements."04": azure-tdx has no register"#,
        ),
        (
            format!(r#"{{"mrtd":"{A}"}}"#),
            ".measurements.mrtd: azure-tdx has no register",
        ),
        (
            r#"{"4":"ab"}"#.into(),
            "expected 64 hex digits, got 2 characters",
        ),
        (
            r#"{"4":"0x"}"#.into(),
            "expected a hex digit at character 1, got 'x'",
        ),
        (
            format!(r#"{{"4":"{A}{A}"}}"#),
            "expected 64 hex digits, got 128 characters",
        ),
        (
            r#"{"4":{}}"#.into(),
            r#".measurements."4": expected expected, expected_any or a string"#,
        ),
        (
            r#"{"4":{"expected":""}}"#.into(),
            "expected 64 hex digits, got 0 characters",
        ),
        (
            r#"{"4":{"expected":7}}"#.into(),
            ".expected: expected a string, got a number",
        ),
        (
            r#"{"4":{"expected_any":[]}}"#.into(),
            ".expected_any: expected at least one value",
        ),
        (
            r#"{"4":{"expected_any":[null]}}"#.into(),
            ".expected_any[0]: expected a string, got null",
        ),
        (
            format!(r#"{{"4":{{"expected":"{A}","expected_any":["{A}"]}}}}"#),
            "either expected or expected_any",
        ),
    ] {
        let message = message(parse(&measurements));
        assert!(message.contains(expected), "{measurements}\n{message}");
    }
    assert!(message(parse_type("none", "{}")).contains(r#".attestation_type: expected azure-tdx"#));
    for (json, expected) in [
        ("[]", "the list: expected at least one entry"),
        (
            "7",
            "the document: expected an object or a list, got a number",
        ),
        ("{", "not JSON"),
        (
            r#"[{"measurement_id":1}]"#,
            "[0].measurement_id: expected a string, got a number",
        ),
        (
            r#"{"measurement_id":"x"}"#,
            ".attestation_type: expected a string, got nothing",
        ),
        (
            r#"[{"more":[{"a":1,"a":2}]}]"#,
            "[0].more[0].a: the key is there twice",
        ),
    ] {
        let message = message(ReferenceValues::parse(json));
        assert!(message.contains(expected), "{json}\n{message}");
    }
}

#[test]
fn mixed_lengths_are_refused() {
    let long = "ab".repeat(48);
    let mixed = format!(r#"{{"0":"{long}","1":"{A}"}}"#);
    let error = parse_type("dcap-tdx", &mixed).unwrap_err();
    assert!(
        matches!(&error, ReferenceError::Value { place, .. } if place == r#".measurements."1""#)
    );
}

#[test]
fn comparison_lists_every_register() {
    let verdicts = |reference: &ReferenceValues| {
        let matches = reference.compare(&prediction());
        matches
            .iter()
            .map(|m| (m.register, m.verdict()))
            .collect::<Vec<_>>()
    };
    let equal = [
        (4, Verdict::Equal),
        (9, Verdict::Equal),
        (11, Verdict::Equal),
    ];
    assert_eq!(verdicts(&published()), equal);

    let other = parse(&format!(
        r#"{{"1":"{A}","4":"{A}","12":"{zero}"}}"#,
        zero = "0".repeat(64)
    ));
    assert_eq!(
        verdicts(&other.unwrap()[0]),
        [
            (1, Verdict::NotPredicted),
            (4, Verdict::Different),
            (9, Verdict::NotPublished),
            (11, Verdict::NotPublished),
            (12, Verdict::Equal),
        ]
    );

    let several = parse(&format!(
        r#"{{"4":{{"expected_any":["{A}","{}"]}}}}"#,
        prediction().registers[&4].value.sha256
    ));
    assert_eq!(verdicts(&several.unwrap()[0])[0], (4, Verdict::Equal));
}

#[test]
fn registers_of_other_machines_are_not_predicted() {
    let long = "00".repeat(48);
    let tdx = parse_type("dcap-tdx", &format!(r#"{{"4":"{long}"}}"#)).unwrap();
    let matches = tdx[0].compare(&prediction());
    assert_eq!(matches.len(), 1);
    assert_eq!(matches[0].verdict(), Verdict::NotPredicted);
}
