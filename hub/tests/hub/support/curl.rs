//! curl, as people use it.

use std::process::Command;

/// Status, body, the type that the answer has, and the version of HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Curled {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) kind: String,
    pub(crate) version: String,
}

/// Runs curl with arguments; if it ends badly, with what it says.
pub(crate) fn try_curl(arguments: &[&str]) -> Result<Curled, String> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args([
            "--write-out",
            "\n%{content_type}\n%{http_version}\n%{http_code}",
        ])
        .args(arguments)
        .output()
        .expect("these tests need curl");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, status) = text.rsplit_once('\n').unwrap();
    let (text, version) = text.rsplit_once('\n').unwrap();
    let (body, kind) = text.rsplit_once('\n').unwrap();
    Ok(Curled {
        status: status.parse().unwrap(),
        body: body.to_owned(),
        kind: kind.to_owned(),
        version: version.to_owned(),
    })
}

#[track_caller]
pub(crate) fn curl(arguments: &[&str]) -> Curled {
    try_curl(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
}
