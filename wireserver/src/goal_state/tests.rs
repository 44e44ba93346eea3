use proptest::prelude::*;

use super::*;

fn document(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <GoalState xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:x=\"goalstate10.xsd\">\
         <Version>2012-11-30</Version>{inner}</GoalState>"
    )
}

const INCARNATION: &str = "<Incarnation>12</Incarnation>";
const CONTAINER_ID: &str = "<ContainerId>c-1</ContainerId>";
const INSTANCE: &str = "<RoleInstance><InstanceId>u._n</InstanceId><State>Started</State>\
    <Configuration><FullConfig>http://a/?b&amp;c</FullConfig></Configuration></RoleInstance>";

fn container(inner: &str) -> String {
    format!("<Container>{CONTAINER_ID}<RoleInstanceList>{inner}</RoleInstanceList></Container>")
}

fn good() -> String {
    let machine = "<Machine><ExpectedState>Started</ExpectedState></Machine>";
    document(&format!("{INCARNATION}{machine}{}", container(INSTANCE)))
}

fn expected() -> GoalState {
    GoalState {
        incarnation: "12".to_owned(),
        container: "c-1".to_owned(),
        instance: "u._n".to_owned(),
    }
}

fn parse(text: &str) -> Result<GoalState, GoalStateError> {
    GoalState::parse(text.as_bytes())
}

#[test]
fn the_three_values_are_found() {
    assert_eq!(parse(&good()).unwrap(), expected());
    assert_eq!(parse(&format!("\u{feff}{}", good())).unwrap(), expected());
    let other_order = document(&format!("{}<X/>\n{INCARNATION}", container(INSTANCE)));
    assert_eq!(parse(&other_order).unwrap(), expected());
}

#[test]
fn text_is_read_as_xml_means_it() {
    let text = good()
        .replace(">12<", "> <!-- -->1<![CDATA[2]]>\r\n <")
        .replace(">u._n<", ">&#x75;.<?x y?>_a&amp;b&lt;ü<");
    let goal_state = parse(&text).unwrap();
    assert_eq!(goal_state.incarnation, "12");
    assert_eq!(goal_state.instance, "u._a&b<ü");
}

#[test]
fn the_first_of_several_instances_counts() {
    let second = INSTANCE.replace("u._n", "u._m");
    let text = document(&format!(
        "{INCARNATION}{}",
        container(&format!("{INSTANCE}{second}"))
    ));
    assert_eq!(parse(&text).unwrap(), expected());
}

#[test]
fn names_elsewhere_in_the_document_do_not_count() {
    let decoys = "<Machine><Incarnation>99</Incarnation><ContainerId>x</ContainerId></Machine>\
                  <x:Incarnation>98</x:Incarnation><InstanceId>x</InstanceId>";
    let text = good().replace("<Machine>", &format!("{decoys}<Machine>"));
    assert_eq!(parse(&text).unwrap(), expected());
}

#[test]
fn what_is_missing_is_named() {
    for (element, part) in [
        ("Incarnation", INCARNATION),
        ("ContainerId", CONTAINER_ID),
        ("InstanceId", INSTANCE),
    ] {
        let error = parse(&good().replace(part, "")).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no {element}"));
    }
    let error = parse("<html><body>Sign in</body></html>").unwrap_err();
    assert_eq!(error.to_string(), "there is no Incarnation");
}

#[test]
fn what_is_said_twice_is_refused() {
    for (element, part) in [("Incarnation", INCARNATION), ("ContainerId", CONTAINER_ID)] {
        let error = parse(&good().replace(part, &format!("{part}{part}"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("there is more than one {element}")
        );
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    let long = format!(">{}<", "u".repeat(257));
    for (from, to) in [
        (">12<", "><"),
        (">12<", ">-1<"),
        (">12<", ">1 2<"),
        (">12<", ">٣<"),
        (">12<", ">123456789012345678901<"),
        (">c-1<", ">  <"),
        (">c-1<", ">a\nb<"),
        (">c-1<", ">a&#x1b;b<"),
        (">u._n<", &long),
    ] {
        let error = parse(&good().replace(from, to)).unwrap_err();
        assert!(
            matches!(error, GoalStateError::Value { .. }),
            "{to}: {error}"
        );
    }
}

#[test]
fn what_is_no_plain_document_is_refused() {
    let deep = "<a>".repeat(17) + &"</a>".repeat(17);
    for (text, expected) in [
        (deep, "expected elements and text, got deeper nesting"),
        (
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{}", good()),
            "expected elements and text, got a document type",
        ),
        (
            good().replace(">12<", ">&b;<"),
            "expected elements and text, got an unknown entity",
        ),
        (
            good().replace(">12<", "><b/>12<"),
            "expected elements and text, got an element within a value",
        ),
        (
            good() + "<a/>",
            "expected elements and text, got a second root",
        ),
        (
            good() + "a",
            "expected elements and text, got text outside of the root",
        ),
        (
            good().replace("</GoalState>", ""),
            "expected elements and text, got an end within an element",
        ),
        (good().replace("</GoalState>", "</Goal>"), "expected XML"),
        (good().replace(">12<", ">&<"), "expected XML"),
        ("<".to_owned(), "expected XML"),
        (String::new(), "there is no Incarnation"),
    ] {
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            expected,
            "{text:.90}"
        );
    }
    let large = good() + &" ".repeat(MAX_DOCUMENT);
    assert!(matches!(parse(&large), Err(GoalStateError::Size { .. })));
    assert!(matches!(
        GoalState::parse(b"\xff"),
        Err(GoalStateError::Text(_))
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = GoalState::parse(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = good().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = GoalState::parse(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(GoalState::parse(&bytes).is_err());
    }
}
