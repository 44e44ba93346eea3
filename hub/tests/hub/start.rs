//! What the program refuses to start with, and signals.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Hub, Kind, LAX, PROGRAM, Place, base, eventually, fails, on_both};

on_both!(it_starts_again_with_what_it_had);

fn it_starts_again_with_what_it_had(kind: Kind) {
    let place = Place::new(kind);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    hub.builder("b1", "1.2.3.4", "production");
    assert!(hub.stop());
    let hub = Hub::lax(&place);
    hub.node("1.2.3.4", "GET", "configuration", "").ok();
}

pub(crate) fn refused(place: &Place, options: &[&str]) -> String {
    let base = base(place, options);
    let base = base.iter().map(String::as_str);
    let arguments: Vec<&str> = ["serve"]
        .into_iter()
        .chain(base)
        .chain(options.iter().copied())
        .collect();
    fails(&arguments)
}

#[test]
fn dangerous_combinations_are_refused() {
    let place = Place::new(Kind::Sqlite);
    let anywhere = ["--trust-proxy-headers", "--listen-addr=0.0.0.0:0"];
    let base = |arguments: &[&str]| {
        let mut all = vec!["serve", "--database"];
        all.push(&place.location);
        all.extend(arguments);
        fails(&all)
    };
    assert!(base(&anywhere).contains("could be any node"));
    let open = ["--disable-admin-auth", "--admin-addr=0.0.0.0:0"];
    assert!(base(&open).contains("needs a loopback --admin-addr"));
    assert!(base(&[]).contains("the admin API needs a password"));
    assert!(refused(&place, &["--required-keys=/nonexistent"]).contains("/nonexistent"));
    let weak = place.path("key");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&weak, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&place, &[]).contains("can be read by others"));
}

/// A hub that says where it listens may be stopped by whoever reads it, at any of its lines. Here it
/// is: a pipe that is full holds it at the next line until the signal is there.
#[test]
fn a_hub_that_is_stopped_at_any_of_its_first_lines_ends_well() {
    const PAGE: usize = 4096;
    let place = Place::new(Kind::Sqlite);
    // Room for one line, two, three (of 31 to 36 bytes each), and all.
    for (lines, room) in [(1, 40), (2, 72), (3, 110), (4, PAGE), (1, PAGE), (1, PAGE)] {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let size = rustix::pipe::fcntl_setpipe_size(&reader, PAGE).unwrap();
        assert_eq!(size, PAGE);
        writer.write_all(&vec![b'\n'; PAGE - room]).unwrap();
        let mut command = Command::new(PROGRAM);
        command.env_clear().arg("serve").args(base(&place, &[]));
        let mut child = command.stdout(writer).spawn().unwrap();
        // Or the read below would never end.
        drop(command);
        let least = u64::try_from(PAGE - room + lines * 30).unwrap();
        eventually("the lines", || {
            rustix::io::ioctl_fionread(&reader).unwrap() >= least
        });
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "at line {lines}: {status}");
        assert_eq!(said.matches("listening ").count(), 4, "{said}");
    }
}

#[test]
fn a_later_programs_database_is_refused() {
    let place = Place::new(Kind::Sqlite);
    assert!(Hub::lax(&place).stop());
    let database = rusqlite::Connection::open(&place.location).unwrap();
    database
        .execute("INSERT INTO hub_migrations (version) VALUES (999)", [])
        .unwrap();
    assert!(refused(&place, LAX).contains("the database has version 999"));
}

#[test]
fn the_database_can_only_be_read_by_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new(Kind::Sqlite);
    let hub = Hub::lax(&place);
    hub.whitelist("m1");
    for entry in std::fs::read_dir(place.directory.path()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("hub.sqlite") {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }
}

#[test]
fn a_password_is_hashed_as_the_hub_wants_it() {
    use std::io::Write;
    let mut command = std::process::Command::new(crate::support::PROGRAM);
    command
        .arg("hash-password")
        .stdin(std::process::Stdio::piped());
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"pass word\n")
        .unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(bcrypt::verify("pass word", hash.trim()).unwrap());
}

/// Unlike libpq's `require`, which trusts anybody.
#[test]
fn postgresql_over_tls_is_verified() {
    let mut place = Place::new(Kind::Postgres);
    let (url, ca) = crate::support::postgres::fresh_database_over_tls();
    place.location = url;
    let ca = format!("--postgres-ca={}", ca.display());
    let hub = Hub::start(&place, &[LAX, &[&ca]].concat());
    hub.whitelist("m1");
    drop(hub);
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let other = place.path("other");
    std::fs::write(&other, params.self_signed(&pair).unwrap().pem()).unwrap();
    let other = format!("--postgres-ca={}", other.display());
    let said = refused(&place, &[&other]);
    assert!(said.contains("invalid peer certificate"), "{said}");
}

/// Unit files have lines like `POSTGRES_DSN=`.
#[test]
fn empty_variables_are_options_that_were_not_given() {
    let place = Place::new(Kind::Sqlite);
    let options = ["--disable-admin-auth=true"];
    let hub = Hub::start_as(&place, &options, |command| {
        for name in ["POSTGRES_DSN", "LOG_JSON", "LOG_DEBUG", "LOG_UID"] {
            command.env(name, "");
        }
        command.stderr(std::fs::File::create(place.path("log")).unwrap());
    });
    hub.ask("admin", "GET", "/api/admin/v1/builders").ok();
    assert!(hub.stop());
    assert!(std::path::Path::new(&place.location).exists());
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(!log.contains("DEBUG") && !log.contains('{') && !log.contains("uid="));
    // One that would open something opens nothing.
    let hub = Hub::start_as(&place, &[], |command| {
        command.env("DISABLE_ADMIN_AUTH", "");
    });
    let answer = hub.ask("admin", "GET", "/api/admin/v1/builders");
    answer.is(401);
    assert!(hub.stop());
    // A key that was meant to be somewhere is not made somewhere else.
    for name in ["SECRETS_KEY_FILE", "SECRETS_KEY_COMMAND"] {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env(name, "")
            .args(["serve", "--database"]);
        command.arg(&place.location).arg("--disable-admin-auth");
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains("a value is required"),
            "{said}"
        );
    }
}

#[test]
fn a_key_is_made_beside_the_database_once_everything_else_is_right() {
    let place = Place::new(Kind::Sqlite);
    let location = format!("--database=sqlite:{}", place.location);
    let key = place.path("hub.sqlite.key");
    let ports = ["listen", "admin", "internal", "metrics"];
    let ports = ports.map(|name| format!("--{name}-addr=127.0.0.1:0"));
    let mut all = vec!["serve", &location];
    all.extend(ports.iter().map(String::as_str));
    assert!(fails(&all).contains("needs a password"));
    let required = ["--disable-admin-auth", "--required-keys=/nonexistent"];
    assert!(fails(&[&all[..], &required].concat()).contains("/nonexistent"));
    assert!(!key.exists());
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(&all).arg("--disable-admin-auth");
    let mut child = command.spawn().unwrap();
    eventually("the database", || {
        std::path::Path::new(&place.location).exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(key.exists());
}
