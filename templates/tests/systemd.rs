//! Environment files as systemd itself, and a shell, read them.
//!
//! systemd reads `os-release` with the parser of `EnvironmentFile=`, and `systemd-tmpfiles` writes its
//! variables to files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;
use templates::{Format, Template, Values};

const VALUES: [&str; 18] = [
    "plain",
    "",
    " spaces  at both ends ",
    "a\"b",
    "a'b",
    "back\\slash",
    "end\\",
    "\\\"",
    "\\n\\t\\x41",
    "$HOME ${HOME} $(id) `id` $$",
    "a;b|c&d>e<f(g)h*i?j[k]l~m",
    "# no comment",
    "a # no comment",
    "K=V",
    "export X=1",
    "é ü 漢字 😀 \u{a0}",
    "!history {a,b} ^x",
    "%n %% %A",
];

fn render(source: &str, value: &str) -> String {
    let template = Template::parse("t", source, Format::Env).unwrap();
    template
        .render(&Values::new(&json!({ "v": value })).unwrap())
        .unwrap()
}

/// What templates may have instead of tags, and what both readers make of it.
const LITERALS: [(&str, &str); 6] = [
    ("b\\ c", "b c"),
    ("b\\\\", "b\\"),
    ("\\\"b\\\"", "\"b\""),
    ("'b'\"c\"d", "bcd"),
    ("\"b\\\nc\"", "bc"),
    ("'b\\'", "b\\"),
];

#[test]
fn systemd_reads_the_value_that_was_rendered() {
    if !testkit::needed::programs(&["systemd-tmpfiles"]) {
        return;
    }
    for value in VALUES {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        let source = "ID=x\nVARIANT_ID={{v}}\nBUILD_ID=\"<{{v}}>\"\nVERSION_ID=last\n";
        fs::write(root.join("etc/os-release"), render(source, value)).unwrap();
        let configuration = folder.path().join("x.conf");
        // Brackets, as an empty argument is none.
        fs::write(
            &configuration,
            "f+ /a - - - - [%W]\nf+ /b - - - - %B\nf+ /c - - - - %w\n",
        )
        .unwrap();
        let run = Command::new("systemd-tmpfiles")
            .arg(format!("--root={}", root.display()))
            .arg("--create")
            .arg(&configuration)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let read = |name| fs::read_to_string(root.join(name)).unwrap_or_default();
        let errors = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(read("a"), format!("[{value}]"), "{errors}");
        assert_eq!(read("b"), format!("<{value}>"), "{errors}");
        assert_eq!(read("c"), "last", "{errors}");
    }
}

#[test]
fn what_a_template_has_instead_of_a_value_is_read_alike() {
    for (literal, expected) in LITERALS {
        let source = format!("ID=x\nVARIANT_ID={literal}\nVERSION_ID={{{{v}}}}\n");
        let rendered = render(&source, "last");
        assert_eq!(by_shell(&rendered), format!("{expected}|last"), "{literal}");
        if testkit::needed::programs(&["systemd-tmpfiles"]) {
            assert_eq!(
                by_systemd(&rendered),
                format!("{expected}|last"),
                "{literal}"
            );
        }
    }
    // Why these are refused: a line that is part of another's value, and two readers of one quote.
    for (literal, systemd, shell) in [
        ("b\\", "bVERSION_ID=\"last\"|", "bVERSION_ID=last|"),
        ("b\"c\"", "b\"c\"|last", "bc|last"),
    ] {
        let text = format!("ID=x\nVARIANT_ID={literal}\nVERSION_ID=\"last\"\n");
        assert_eq!(by_shell(&text), shell);
        if testkit::needed::programs(&["systemd-tmpfiles"]) {
            assert_eq!(by_systemd(&text), systemd);
        }
        let source = text.replace("\"last\"", "{{v}}");
        assert!(Template::parse("t", &source, Format::Env).is_err());
    }
}

/// Two variables as systemd reads them.
fn by_systemd(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/os-release"), text).unwrap();
    let configuration = folder.path().join("x.conf");
    fs::write(&configuration, "f+ /a - - - - %W|%w\n").unwrap();
    let run = Command::new("systemd-tmpfiles")
        .arg(format!("--root={}", root.display()))
        .arg("--create")
        .arg(&configuration)
        .output()
        .unwrap();
    let read = fs::read_to_string(root.join("a"));
    read.unwrap_or_else(|_| String::from_utf8_lossy(&run.stderr).into_owned())
}

/// The same as a shell reads them.
fn by_shell(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    fs::write(&file, text).unwrap();
    let script = ". \"$0\" && printf '%s|%s' \"$VARIANT_ID\" \"$VERSION_ID\"";
    let run = Command::new("sh").arg("-c").arg(script).arg(&file).output();
    String::from_utf8(run.unwrap().stdout).unwrap()
}

#[test]
fn a_shell_reads_the_value_that_was_rendered() {
    for value in VALUES {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        fs::write(&file, render("A={{v}}\nB=\"<{{v}}>\"\nC=last\n", value)).unwrap();
        let script = ". \"$0\" && printf '%s|%s|%s' \"$A\" \"$B\" \"$C\"";
        let run = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(&file)
            .output()
            .unwrap();
        let read = String::from_utf8(run.stdout).unwrap();
        assert_eq!(read, format!("{value}|<{value}>|last"));
    }
}
