//! Which configurations are taken, and what is said about those that are not.

use super::*;

const GOOD: &str = r#"{
    "instance_name": "node-1", "public_ip": "192.0.2.7", "dns_name": "node-1.example",
    "disk": { "key": "secret words" }, "relays#base64": "eA==",
    "enabled": true, "peers": 50, "list": [], "object": {}
}"#;

fn required() -> BTreeMap<String, Kind> {
    let all = [
        ("instance_name", Kind::Text),
        ("public_ip", Kind::Address),
        ("dns_name", Kind::Name),
        ("disk.key", Kind::Text),
        ("relays", Kind::Text),
        ("enabled", Kind::Boolean),
        ("peers", Kind::Number),
        ("list", Kind::List),
        ("object", Kind::Object),
    ];
    all.map(|(key, kind)| (key.to_owned(), kind)).into()
}

fn refusal(json: &str) -> String {
    let parsed = Configuration::parse(json.as_bytes(), &required());
    format!("{:#}", parsed.err().unwrap())
}

#[test]
fn what_has_everything_is_taken() {
    let configuration = Configuration::parse(GOOD.as_bytes(), &required()).unwrap();
    let keys = ["public_ip".to_owned(), "dns_name".to_owned()];
    let names = configuration.names(&keys).unwrap();
    assert_eq!(names[0], ServerName::try_from("192.0.2.7").unwrap());
    assert_eq!(names[1], ServerName::try_from("node-1.example").unwrap());
    assert!(configuration.names(&["peers".to_owned()]).is_err());
    assert!(configuration.names(&["nothing".to_owned()]).is_err());
}

#[test]
fn an_empty_one_names_what_it_lacks() {
    let refusal = refusal("{}");
    for key in required().keys() {
        assert!(refusal.contains(&format!("{key} is missing")), "{refusal}");
    }
}

#[test]
fn a_key_of_another_kind_is_named_and_its_value_is_not() {
    for (from, to, said) in [
        (
            r#""node-1""#,
            r#""""#,
            "instance_name is not a text that is not empty",
        ),
        (
            r#""192.0.2.7""#,
            r#""nowhere""#,
            "public_ip is not an IP address",
        ),
        (
            r#""node-1.example""#,
            r#""-secret words-""#,
            "dns_name is not a DNS name",
        ),
        (
            r#"{ "key": "secret words" }"#,
            r#""secret words""#,
            "disk.key is missing",
        ),
        (
            r#""secret words""#,
            r#"["secret words"]"#,
            "disk.key is not a text",
        ),
        (
            r#""node-1.example""#,
            r#""node-1.example.""#,
            "dns_name is not a DNS name",
        ),
        (r#""eA==""#, r#""""#, "relays#base64 is no base64"),
        (r#""eA==""#, "null", "relays#base64 is no base64"),
        (r#""eA==""#, "5", "relays#base64 is no base64"),
        (
            r#""eA==""#,
            r#""secret words""#,
            "relays#base64 is no base64",
        ),
        (
            r#""eA==""#,
            r#""eA==", "relays": "x""#,
            "relays and relays#base64 are both there",
        ),
        ("true", r#""secret words""#, "enabled is not true or false"),
        ("50", r#""secret words""#, "peers is not a number"),
        ("[]", r#""secret words""#, "list is not a list"),
        ("{}", r#""secret words""#, "object is not an object"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let refusal = refusal(&GOOD.replace(from, to));
        assert!(refusal.contains(said), "{refusal}");
        assert!(!refusal.contains("secret words"), "{refusal}");
    }
}

#[test]
fn what_is_no_object_is_refused_without_being_quoted() {
    for json in [
        "",
        "[]",
        "null",
        "\"secret words\"",
        "{\"a\": secret words}",
        "{\"a\": 1",
    ] {
        let refusal = refusal(json);
        assert!(refusal.contains("JSON"), "{refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}

#[test]
fn a_long_list_of_lacks_is_cut() {
    let required = (0..100)
        .map(|it| (format!("key{it:03}"), Kind::Text))
        .collect();
    let refusal = Configuration::parse(b"{}", &required).err().unwrap();
    let refusal = format!("{refusal:#}");
    assert!(
        refusal.ends_with("key009 is missing, and 90 more"),
        "{refusal}"
    );
}

#[test]
fn differences_are_the_members_that_differ() {
    let of = |json: &str| Configuration::parse(json.as_bytes(), &BTreeMap::new()).unwrap();
    let (one, two) = (
        of(r#"{"a":1,"b":2,"c":[3]}"#),
        of(r#"{"b":2,"c":[4],"d":5}"#),
    );
    assert_eq!(one.differences(&two), ["a", "c", "d"]);
    assert!(one.differences(&one.clone()).is_empty());
}

#[test]
fn a_count_is_a_whole_number_or_its_digits_and_nothing_that_looks_like_one() {
    let required = [("limit".to_owned(), Kind::Count)].into();
    let is_taken = |value: Value| {
        let json = serde_json::json!({ "limit": value }).to_string();
        Configuration::parse(json.as_bytes(), &required).is_ok()
    };
    for good in [
        0.into(),
        10.into(),
        "0".into(),
        "600000000".into(),
        u64::MAX.into(),
    ] {
        assert!(is_taken(good));
    }
    for bad in [
        "",
        "1.5",
        "1:2",
        "-1",
        "+1",
        " 1",
        "1e3",
        "0x1",
        "18446744073709551616",
        "١",
    ] {
        assert!(!is_taken(bad.into()), "{bad}");
    }
    for bad in [serde_json::json!(1.0), serde_json::json!(-1), Value::Null] {
        assert!(!is_taken(bad));
    }
}

#[test]
fn a_switch_is_what_it_says_or_its_default_and_nothing_else() {
    let switch = |when: &str, default| Switch {
        unit: "x.service".to_owned(),
        when: when.to_owned(),
        default,
    };
    let parse = |json: &str| Configuration::parse(json.as_bytes(), &BTreeMap::new()).unwrap();
    let configuration = parse(r#"{ "one": { "on": true, "off": false } }"#);
    assert!(configuration.is_on(&switch("one.on", false)));
    assert!(!configuration.is_on(&switch("one.off", true)));
    assert!(configuration.is_on(&switch("two.on", true)));
    assert!(!configuration.is_on(&switch("two.on", false)));
    let optional = BTreeMap::from([("one.on".to_owned(), Kind::Boolean)]);
    assert!(configuration.if_there(&optional).is_ok());
    assert!(parse("{}").if_there(&optional).is_ok());
    for wrong in ["null", "\"true\"", "1", "{}"] {
        let configuration = parse(&format!(r#"{{ "one": {{ "on": {wrong} }} }}"#));
        let error = configuration.if_there(&optional).err().unwrap();
        assert!(
            error.to_string().ends_with("one.on is not true or false"),
            "{error}"
        );
    }
}
