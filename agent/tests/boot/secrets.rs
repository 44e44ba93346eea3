//! The configuration's secrets, looked for from inside: where another process, a reader of the journal or
//! of the file system would see them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::hub::{Answer, Hub};
use crate::node::Node;

/// Nothing else on the machine has it.
const TOKEN: &str = "bright-walrus-7f3a";

/// A configuration whose every text that may be secret has the token.
fn configuration(round: u32) -> Value {
    json!({
        "dns_name": "node.example",
        "public_ip": "192.0.2.7",
        "disk": { "key": format!("{TOKEN} disk key {round}") },
        "service": { "password": format!("{TOKEN} password {round}"), "number": round },
    })
}

#[tokio::test]
async fn secrets_are_in_no_argument_environment_log_notification_or_file() {
    let mut wrong = configuration(2);
    wrong["public_ip"] = format!("{TOKEN} instead of an address").into();
    let hub = Hub::start([
        // What a hub says by mistake is not repeated either.
        Answer::Is(500, format!("panic at {TOKEN}")),
        Answer::Is(200, format!("{{\"disk\": \"{TOKEN}")),
        Answer::good(&wrong),
        Answer::good(&configuration(1)),
    ])
    .await;
    let node = Node::start_with(hub.address, "refresh_seconds = 1").await;
    node.logged("ready: this node is ready", 1).await;
    for said in ["answers 500", "is not JSON", "public_ip is not"] {
        node.logged(said, 1).await;
    }
    hub.answers([Answer::good(&wrong)]);
    node.logged("refresh: the last configuration stays", 1)
        .await;
    hub.answers([Answer::good(&configuration(2))]);
    node.logged("refresh: changed: disk, service", 1).await;

    let mut looked_at = Vec::new();
    for process in node.processes() {
        for name in ["cmdline", "environ", "comm"] {
            let path = PathBuf::from(format!("/proc/{process}/{name}"));
            assert!(!has_token(&path), "{}", path.display());
            looked_at.push(path);
        }
    }
    for directory in node.directories() {
        for path in below(directory) {
            assert!(!has_token(&path), "{}", path.display());
            looked_at.push(path);
        }
    }
    for said in node.notifications() {
        assert!(!said.contains(TOKEN), "{said}");
    }
    for name in ["boot.log", "attest.log", "attest.pem", "started"] {
        assert!(looked_at.iter().any(|path| path.ends_with(name)), "{name}");
    }
    // The search finds what is there.
    let control = node.directories()[0].join("control");
    fs::write(&control, format!("x{TOKEN}x")).unwrap();
    assert!(has_token(&control));
    node.stop().await;
}

fn has_token(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes
        .windows(TOKEN.len())
        .any(|window| window == TOKEN.as_bytes())
}

/// Files in a directory and below; sockets cannot be read.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
