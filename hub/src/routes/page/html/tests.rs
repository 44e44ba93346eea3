use super::table::{escape, is_unseen};
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// 2026-11-22T00:00:00Z.
const NOW: i64 = 1_795_305_600_000_000;

fn overview(builders: Vec<Json>, measurements: Vec<Json>) -> Overview {
    Overview {
        now: NOW,
        builders,
        measurements,
        running: HashMap::new(),
        events: Vec::new(),
    }
}

#[test]
fn everything_is_escaped() {
    let evil = "<script>alert('x')</script>\"&";
    let mut page = overview(
        vec![
            json!({"name": evil, "ip_address": evil, "dns_name": evil, "network": evil,
                "measurement_id": evil, "certificate_expires": evil, "last_contact": evil}),
        ],
        vec![json!({"measurement_id": evil, "attestation_type": evil, "is_active": true})],
    );
    page.events = vec![
        json!({"at": evil, "actor_kind": evil, "actor": evil, "event": evil, "builder": evil,
            "measurement_id": evil, "address": evil, "detail": evil}),
    ];
    let html = page.render();
    assert!(!html.contains("<script"));
    assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count(), 17);
}

#[test]
fn what_is_not_seen_is_made_visible() {
    let shown = escape("a\u{202e}b\u{7}c\u{200b}d\u{0}\u{2066}é");
    assert_eq!(shown, r"a\u{202e}b\u{7}c\u{200b}d\u{0}\u{2066}é");
}

#[test]
fn characters_without_ink_are_made_visible() {
    for character in [
        '\u{34f}',
        '\u{115f}',
        '\u{1160}',
        '\u{17b4}',
        '\u{17b5}',
        '\u{180b}',
        '\u{180f}',
        '\u{2800}',
        '\u{3164}',
        '\u{fe00}',
        '\u{fe0f}',
        '\u{ffa0}',
        '\u{e0000}',
        '\u{e0041}',
        '\u{e007f}',
        '\u{e0100}',
        '\u{e01ef}',
        '\u{a0}',
        '\u{1680}',
        '\u{2003}',
        '\u{202f}',
        '\u{205f}',
        '\u{3000}',
        '\t',
    ] {
        let shown = escape(&format!("a{character}b"));
        let number = u32::from(character);
        assert_eq!(shown, format!("a\\u{{{number:x}}}b"));
    }
}

#[test]
fn only_a_single_blank_between_others_is_shown_as_it_is() {
    for (text, expected) in [
        ("a b c", "a b c"),
        (" a", r"\u{20}a"),
        ("a ", r"a\u{20}"),
        ("a  b", r"a\u{20}\u{20}b"),
        ("a   b c", r"a\u{20}\u{20}\u{20}b c"),
        (" ", r"\u{20}"),
        ("< b", "&lt; b"),
        ("", ""),
    ] {
        assert_eq!(escape(text), expected);
    }
}

#[test]
fn certificates_that_end_are_marked() {
    assert_eq!(text::time(NOW), "2026-11-22T00:00:00Z");
    for (ends, remark) in [
        ("2026-11-21T23:59:59Z", "has ended"),
        ("2026-11-22T00:00:00Z", "has ended"),
        ("2026-11-22T00:00:01Z", "ends soon"),
        ("2026-12-06T00:00:00Z", "ends soon"),
        ("2026-12-06T00:00:01Z", ""),
        ("9999-12-31T23:59:59Z", ""),
    ] {
        let builder = json!({"name": "b", "certificate_expires": ends});
        let cell = overview(Vec::new(), Vec::new()).certificate_of(&builder);
        assert_eq!((cell.text.as_str(), cell.remark.as_str()), (ends, remark));
    }
    let cell = overview(Vec::new(), Vec::new()).certificate_of(&json!({"name": "b"}));
    assert_eq!(cell.text, "none");
}

#[test]
fn a_measurement_that_is_not_allowed_any_more_is_marked() {
    let entry = |name: &str, is_active| json!({"measurement_id": name, "is_active": is_active});
    let mut page = overview(Vec::new(), vec![entry("on", true), entry("off", false)]);
    let remark = |page: &Overview, name| {
        let builder = json!({"measurement_id": name});
        page.measurement_of(&builder).remark
    };
    assert_eq!(remark(&page, "on"), "");
    assert_eq!(remark(&page, "off"), "no longer active");
    assert_eq!(remark(&page, "gone"), "deleted");
    assert_eq!(remark(&page, ""), "");
    // Beyond what is shown there may be one of this name.
    while !is_cut(&page.measurements, MEASUREMENTS) {
        page.measurements.push(entry("other", true));
    }
    assert_eq!(remark(&page, "gone"), "");
}

#[test]
fn a_table_says_what_is_left_out() {
    let of = |count: usize| {
        let builders = vec![json!({"is_active": true}); count];
        let page = overview(builders, Vec::new());
        let mut html = String::new();
        page.builders().write(&mut html);
        html.lines().nth(2).unwrap().to_owned()
    };
    assert_eq!(of(0), "<p>None yet.</p>");
    assert_eq!(of(3), "<p>3, 3 active.</p>");
    assert_eq!(
        of(500),
        "<p>The first 500, 500 of them active. <code>builderhub builder list</code> shows more.</p>"
    );
}

proptest! {
    #[test]
    fn no_text_ends_a_cell(text in any::<String>()) {
        let escaped = escape(&text);
        prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        prop_assert!(!escaped.contains(is_unseen));
        prop_assert!(escaped.trim() == escaped && !escaped.contains("  "));
    }
}
