//! What the template makes of a configuration, and what a template may say.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use templates::{Root, Set};

/// Where the layer has its templates.
const TEMPLATES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../meta-buildernet/mkosi.extra/usr/share/cvm-agent/templates"
);

pub(crate) const CONFIGURATION: &str = "run/cvm-agent/haproxy/haproxy.cfg";
pub(crate) const PRIVILEGED: &str = "run/cvm-agent/haproxy/privileged.txt";

/// The simulator's configuration, which has the known one's keys.
pub(crate) fn sample() -> Value {
    serde_json::from_str(include_str!("../../data/configuration.json")).unwrap()
}

/// What one destination holds.
pub(crate) fn content(values: &Value, destination: &str) -> String {
    let rendered = Set::read(Path::new(TEMPLATES)).unwrap().render(values);
    rendered.unwrap().content(destination).unwrap().to_owned()
}

/// HAProxy's own checker, with another certificate; what it says, if it refuses.
fn check(values: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("haproxy.pem");
    fs::write(&certificate, crate::proxy::certificate().1).unwrap();
    let text = content(values, CONFIGURATION).replace(
        "/run/cvm-agent/identity/haproxy.pem",
        certificate.to_str().unwrap(),
    );
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    fs::write(
        folder.path().join("privileged.txt"),
        content(values, PRIVILEGED),
    )
    .unwrap();
    let checked = Command::new("haproxy")
        .args(["-c", "-dW", "-f"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    checked.status.success().then_some(()).ok_or(said)
}

#[test]
fn haproxy_accepts_the_known_configuration_and_warns_of_nothing() {
    if !crate::is_there() {
        return;
    }
    let mut values = sample();
    check(&values).unwrap();
    values["haproxy"]["rate_limit_privileged_ips"] = json!([
        "198.51.100.7 partner-a",
        "2001:db8::/48 partner-b",
        "192.0.2.0/24"
    ]);
    values["haproxy"]["rate_limit_conn_rate_regular"] = json!(10);
    check(&values).unwrap();
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let render = |values: &Value| {
        let rendered = Set::read(Path::new(TEMPLATES)).unwrap().render(values);
        rendered.map_err(|error| error.to_string())
    };
    let mut values = sample();
    values["haproxy"]["rate_limit_conn_rate_regular"] = json!("10 or TRUE");
    let error = render(&values).unwrap_err();
    assert!(
        error.contains("haproxy.cfg: line")
            && error.contains("haproxy.rate_limit_conn_rate_regular"),
        "{error}"
    );
    assert!(!error.contains("TRUE"), "{error}");
    if !crate::is_there() {
        return;
    }
    for (key, value) in [
        ("rate_limit_conn_rate_regular", json!("many")),
        (
            "rate_limit_privileged_ips",
            json!(["partner-a 198.51.100.7"]),
        ),
        ("rate_limit_privileged_ips", json!(["localhost"])),
        ("rate_limit_privileged_ips", json!(["198.51.100.300"])),
        (
            "rate_limit_privileged_ips",
            json!(["198.51.100.0/33 partner-a"]),
        ),
    ] {
        let mut values = sample();
        values["haproxy"][key] = value;
        assert!(check(&values).is_err(), "{values}");
    }
}

#[test]
fn a_configuration_without_limits_has_some() {
    let mut values = sample();
    values.as_object_mut().unwrap().remove("haproxy").unwrap();
    let text = content(&values, CONFIGURATION);
    for limit in [
        "acl many sc_conn_rate(0) gt 3\n",
        "acl many sc_conn_cur(0) gt 3\n",
        "acl many sc_http_req_rate(0) gt 1000\n",
        "acl much sc_bytes_in_rate(0) gt 600000000\n",
        "acl most_connections sc_conn_rate(0) gt 1000\n",
        "acl most_connections sc_conn_cur(0) gt 100\n",
        "acl most_requests sc_http_req_rate(0) gt 100000\n",
        "acl most_bytes sc_bytes_in_rate(0) gt 6000000000\n",
    ] {
        assert!(text.contains(limit), "{limit}");
    }
    assert_eq!(content(&values, PRIVILEGED), "");
    if crate::is_there() {
        check(&values).unwrap();
    }
}

/// Whatever the hub says: plain text is on loopback or a socket, and so is every upstream; what is public
/// has the node's certificate. The words that could lead elsewhere are not in it.
#[test]
fn only_tls_is_public_and_upstreams_are_on_loopback() {
    let text = content(&sample(), CONFIGURATION);
    let is_loopback = |address: &str| {
        let port = address.strip_prefix("127.0.0.1:");
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let (mut public, mut servers) = (Vec::new(), 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["bind", address, ..] if is_loopback(address) => {}
            ["bind", socket, "mode", "0600"] if socket.starts_with("unix@/run/haproxy/") => {}
            ["bind", address, rest @ ..] => {
                assert_eq!(
                    rest,
                    [
                        "v6only",
                        "ssl",
                        "crt",
                        "/run/cvm-agent/identity/haproxy.pem",
                        "alpn",
                        "h2,http/1.1"
                    ]
                );
                public.push((*address).to_owned());
            }
            ["server", _, address, ..] => {
                assert!(is_loopback(address), "{line}");
                servers += 1;
            }
            [first, ..] => {
                let elsewhere = [
                    "server-template",
                    "dispatch",
                    "peer",
                    "peers",
                    "resolvers",
                    "mailers",
                    "lua-load",
                    "program",
                    "ring",
                    "log-forward",
                    "filter",
                    "external-check",
                    "stats",
                    "quic-initial",
                    "log",
                ];
                assert!(!elsewhere.contains(first), "{line}");
                assert!(!line.contains("set-dst"), "{line}");
            }
            [] => {}
        }
    }
    assert_eq!(public, ["0.0.0.0:443,[::]:443", "0.0.0.0:5544,[::]:5544"]);
    assert_eq!(servers, 2);
    assert!(text.contains("ssl-min-ver TLSv1.3"));

    // And no value of the hub's stands where it could change that.
    let template = fs::read_to_string(Path::new(TEMPLATES).join(CONFIGURATION)).unwrap();
    for line in template.lines().filter(|line| line.contains("{{")) {
        assert!(line.trim_start().starts_with("acl "), "{line}");
    }
}

/// Files are for HAProxy to read, and for nobody to read else.
#[test]
fn files_are_for_haproxy_alone() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let gid = fs::metadata(folder.path()).unwrap().gid();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(
        folder.path().join("etc/group"),
        format!("haproxy:x:{gid}:\n"),
    )
    .unwrap();
    let root = Root::new(folder.path(), folder.path().join("state"));
    let rendered = Set::read(Path::new(TEMPLATES)).unwrap().render(&sample());
    let mut checkers = Vec::new();
    let checked = rendered.unwrap().check(&root, |checker| {
        checkers.push(checker.program.to_owned());
        Ok(std::process::ExitStatus::default())
    });
    let changes = checked.unwrap().commit().unwrap();
    assert_eq!(checkers, ["/usr/sbin/haproxy"]);
    assert_eq!(
        changes.reload().into_iter().collect::<Vec<_>>(),
        ["haproxy.service"]
    );
    for file in [CONFIGURATION, PRIVILEGED] {
        let metadata = fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o640, gid));
    }
}
