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
