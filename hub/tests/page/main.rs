//! The admin's page as a browser shows it, on a hub that was filled through its API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

mod bad_page;
mod browser;
mod filled;
#[path = "../hub/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the support of the tests of the API, of which the page's need a part"
)]
mod support;
mod tab;

use std::path::Path;

use serde_json::{Value, json};

use browser::Browser;
use filled::{EVIL, EVIL_NAMES, Filled, stamp};
use support::PASSWORD;
use tab::{How, Tab};

const ADMIN: How = How {
    credentials: Some(("admin", PASSWORD)),
    width: 1200,
    without_policy: false,
};

/// A table as it is shown: the line above it, and its rows.
const READ: &str = "(id => {
    const section = document.getElementById(id);
    const texts = (from, what) => [...from.querySelectorAll(what)].map(cell => cell.innerText);
    return {
        summary: section.querySelector('p').innerText,
        columns: texts(section, 'th'),
        rows: [...section.querySelectorAll('tbody tr')].map(row => texts(row, 'td')),
    };
})";

fn table(tab: &mut Tab, id: &str) -> Value {
    tab.evaluate(&format!("{READ}('{id}')"))
}

fn column(table: &Value, name: &str) -> Vec<String> {
    let columns = table["columns"].as_array().unwrap();
    let index = columns.iter().position(|column| column == name).unwrap();
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|row| row[index].as_str().unwrap().to_owned())
        .collect()
}

/// Asserts that the page did nothing but show itself.
#[track_caller]
fn assert_quiet(tab: &mut Tab) {
    assert_eq!(tab.strangers, [""; 0]);
    assert_eq!(tab.dialogs, [""; 0]);
    assert_eq!(tab.complaints, [""; 0]);
    assert_eq!(tab.requests, ["/", "/style.css"]);
    assert_eq!(tab.evaluate("document.title"), "builderhub");
    assert_eq!(tab.evaluate("window.owned === undefined"), true);
}

fn has_browser() -> bool {
    testkit::needed::programs(&[browser::PROGRAM, "setpriv"])
}

#[test]
fn it_shows_builders_measurements_and_events() {
    if !has_browser() {
        return;
    }
    let start = stamp();
    let filled = Filled::usual();
    let mut browser = Browser::start();
    let mut tab = Tab::open(&mut browser, filled.address(), ADMIN);
    assert_eq!(tab.status, 200);
    assert_quiet(&mut tab);

    let builders = table(&mut tab, "builders");
    assert_eq!(builders["summary"], "4, 3 active.");
    let contacts = column(&builders, "Last contact");
    for contact in &contacts[..3] {
        assert!(
            start <= *contact && *contact <= stamp(),
            "{start} {contact}"
        );
    }
    let soon = format!("{} ends soon", filled.soon);
    let rows = json!([
        [
            "alpha",
            "10.0.0.1",
            "alpha.example.net",
            "production",
            "active",
            "image-2",
            "2090-01-01T00:00:00Z",
            contacts[0]
        ],
        [
            "beta",
            "10.0.0.2",
            "beta.example.net",
            "production",
            "active",
            "image-2",
            soon,
            contacts[1]
        ],
        [
            "gamma",
            "10.0.0.3",
            "gamma.example.net",
            "test",
            "active",
            "image-1 no longer active",
            "none",
            contacts[2]
        ],
        [
            "delta", "10.0.0.4", "", "test", "inactive", "", "none", "never"
        ],
    ]);
    assert_eq!(builders["rows"], rows);

    let measurements = table(&mut tab, "measurements");
    assert_eq!(
        measurements["columns"],
        json!(["Name", "Type", "State", "Builders"])
    );
    let rows = json!([
        ["image-1", "test", "inactive", "1"],
        ["image-2", "test", "active", "2"],
        ["image-3", "test", "inactive", "0"],
    ]);
    assert_eq!(measurements["rows"], rows);

    let events = table(&mut tab, "events");
    let what = column(&events, "What");
    assert_eq!(what[0], "DeactivateMeasurement");
    for event in [
        "AddBuilder",
        "ActivateBuilder",
        "GetConfig",
        "RegisterCredentials",
    ] {
        assert!(what.iter().any(|known| known == event), "{event}: {what:?}");
    }
    let registered = what
        .iter()
        .position(|w| w == "RegisterCredentials")
        .unwrap();
    let row = &events["rows"][registered];
    let expected = json!([
        row[0],
        "node beta",
        "RegisterCredentials",
        "beta",
        "image-2",
        "10.0.0.2",
        "instance"
    ]);
    assert_eq!(row, &expected);
    let times = column(&events, "Time");
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert!(times.iter().all(|time| start <= *time && *time <= stamp()));
}

#[test]
fn an_empty_hub_has_a_page_too() {
    if !has_browser() {
        return;
    }
    let filled = Filled::empty();
    let mut browser = Browser::start();
    let mut tab = Tab::open(&mut browser, filled.address(), ADMIN);
    assert_quiet(&mut tab);
    for id in ["builders", "measurements", "events"] {
        let shown = table(&mut tab, id);
        assert_eq!(shown["summary"], "None yet.");
        assert_eq!(shown["rows"], json!([]));
    }
}

#[test]
fn nothing_is_shown_without_the_password() {
    if !has_browser() {
        return;
    }
    let filled = Filled::usual();
    let mut browser = Browser::start();
    for credentials in [None, Some(("admin", "wrong")), Some(("root", PASSWORD))] {
        let how = How {
            credentials,
            ..ADMIN
        };
        let mut tab = Tab::open(&mut browser, filled.address(), how);
        assert_eq!(tab.status, 401, "{credentials:?}");
        assert_eq!(tab.requests, ["/"]);
        let shown = tab.evaluate("document.documentElement.innerText.trim()");
        assert_eq!(shown, "Unauthorized");
    }
    // The same browser, the same hub: nothing else was in the way.
    assert_eq!(Tab::open(&mut browser, filled.address(), ADMIN).status, 200);
}

#[test]
fn hostile_texts_are_texts() {
    if !has_browser() {
        return;
    }
    let filled = Filled::hostile();
    let mut browser = Browser::start();
    for without_policy in [false, true] {
        let how = How {
            without_policy,
            ..ADMIN
        };
        let mut tab = Tab::open(&mut browser, filled.address(), how);
        // As somebody would who looks around: over everything, and into it.
        tab.evaluate(
            "document.querySelectorAll('*').forEach(e => {
                for (const kind of ['mouseover', 'focus', 'click', 'error', 'toggle'])
                    e.dispatchEvent(new Event(kind));
            })",
        );
        tab.watch();
        assert_quiet(&mut tab);

        let names = column(&table(&mut tab, "builders"), "Name");
        let shown: Vec<_> = EVIL_NAMES.iter().map(|(_, shown)| *shown).collect();
        assert_eq!(names[..shown.len()], shown);
        let measurements = column(&table(&mut tab, "measurements"), "Name");
        assert!(measurements.iter().any(|name| name == EVIL));
        let details = column(&table(&mut tab, "events"), "Details");
        let lack = details.iter().find(|detail| detail.contains("onerror"));
        assert!(
            lack.is_some_and(|lack| lack.contains(r"\u{7}\u{202e}")),
            "{details:?}"
        );
        // Elements that this page does not have, and attributes that only a text could have made.
        let strange = "document.querySelectorAll('script, img, svg, iframe, form, a, [onerror], \
                       [onmouseover], [style], [src]').length";
        assert_eq!(tab.evaluate(strange), 0);
    }
}

#[test]
fn the_policy_stops_scripts_and_requests_elsewhere() {
    if !has_browser() {
        return;
    }
    let filled = Filled::usual();
    let mut browser = Browser::start();
    // What a text could do if one got through; without the policy, to see that it would.
    let attack = "{
        const script = document.createElement('script');
        script.textContent = 'window.owned = 1';
        document.body.append(script);
        const image = new Image();
        image.src = 'http://127.0.0.1:9/image';
        document.body.append(image);
        fetch('http://127.0.0.1:9/fetch').catch(() => {});
        const style = document.createElement('style');
        style.textContent = 'body { color: red }';
        document.body.append(style);
    }";
    let outcome =
        "[window.owned === 1, getComputedStyle(document.body).color === 'rgb(255, 0, 0)']";
    for without_policy in [false, true] {
        let how = How {
            without_policy,
            ..ADMIN
        };
        let mut tab = Tab::open(&mut browser, filled.address(), how);
        tab.evaluate(attack);
        let expected = json!([without_policy, without_policy]);
        tab.until("the outcome", |tab| tab.evaluate(outcome) == expected);
        tab.until("a complaint", |tab| !tab.complaints.is_empty());
        if without_policy {
            tab.until("both requests", |tab| tab.strangers.len() == 2);
        } else {
            tab.watch();
            assert_eq!(tab.strangers, [""; 0]);
            assert_eq!(tab.evaluate(outcome), expected);
        }
    }
}

#[test]
fn it_is_read_without_scrolling_sideways() {
    if !has_browser() {
        return;
    }
    let mut browser = Browser::start();
    for (name, filled) in [("usual", Filled::usual()), ("hostile", Filled::hostile())] {
        for width in [320, 400, 800, 1153, 1400] {
            let how = How { width, ..ADMIN };
            let mut tab = Tab::open(&mut browser, filled.address(), how);
            assert_eq!(tab.evaluate("innerWidth"), width);
            let wide = "(seen => [...document.querySelectorAll('body *')].filter(element => {
                const box = element.getBoundingClientRect();
                return box.left < 0 || box.right > seen || element.scrollWidth > seen;
            }).map(element => element.outerHTML.slice(0, 200)))(document.documentElement.clientWidth)";
            assert_eq!(tab.evaluate(wide), json!([]), "{name} at {width}");
            let hidden = "(page => page.scrollWidth - page.clientWidth)(document.documentElement)";
            assert_eq!(tab.evaluate(hidden), 0, "{name} at {width}");
            // Where the columns' heads have no room, each cell says which one it is of.
            let label =
                "getComputedStyle(document.querySelector('#builders td'), '::before').content";
            let head = "document.querySelector('#builders th').getClientRects().length";
            let (label, head) = (tab.evaluate(label), tab.evaluate(head));
            if width <= 1152 {
                assert_eq!((label, head), (json!("\"Name\""), json!(0)));
            } else {
                assert_eq!((label, head), (json!("none"), json!(1)));
            }
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            tab.picture(&folder.join(format!("page-{name}-{width}.png")));
        }
    }
}

#[test]
fn colours_can_be_told_from_their_ground() {
    if !has_browser() {
        return;
    }
    let filled = Filled::usual();
    let mut browser = Browser::start();
    let mut tab = Tab::open(&mut browser, filled.address(), ADMIN);
    // WCAG 2: 4.5 for text of this size.
    let contrast = "(() => {
        const light = colour => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
                .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const page = matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)';
        return [...document.querySelectorAll('p, td, .good, .quiet, .warning')].map(element => {
            const both = [light(getComputedStyle(element).color), light(page)].sort((a, b) => b - a);
            return (both[0] + 0.05) / (both[1] + 0.05);
        }).reduce((a, b) => Math.min(a, b));
    })()";
    for scheme in ["light", "dark"] {
        tab.prefer(scheme);
        let least = tab.evaluate(contrast).as_f64().unwrap();
        assert!(least >= 4.5, "{scheme}: {least}");
    }
}

#[test]
fn what_a_bad_page_does_is_noticed() {
    if !has_browser() {
        return;
    }
    let mut browser = Browser::start();
    let mut tab = Tab::open(&mut browser, bad_page::serve(), ADMIN);
    tab.until("its title", |tab| tab.evaluate("document.title") == "owned");
    tab.until("the dialog", |tab| tab.dialogs == ["\"alert\""]);
    let strangers = ["http://elsewhere.example/image", "http://127.0.0.1:9/late"];
    tab.until("both requests", |tab| tab.strangers == strangers);
    for text in ["complaint", "exception"] {
        tab.until(text, |tab| {
            tab.complaints.iter().any(|line| line.contains(text))
        });
    }
    let width = tab.evaluate("document.documentElement.scrollWidth");
    assert_eq!(width, 3000);
}
