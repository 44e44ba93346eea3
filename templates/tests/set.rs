//! Sets of templates, from a folder to files in place.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failing test, which is what is wanted"
)]

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use serde_json::{Value, json};
use tempfile::TempDir;
use templates::{
    ChangeKind, Changes, CheckError, Checker, CommitError, ReadError, Root, Set, SetRenderError,
};

/// A folder of templates and a root beside it.
struct Machine(TempDir);

impl Machine {
    fn new(templates: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(machine.path("root/etc")).unwrap();
        for (path, text) in templates {
            machine.write_template(path, text);
        }
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn write_template(&self, path: &str, text: &str) {
        let path = self.path("templates").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn set(&self) -> Result<Set, ReadError> {
        Set::read(&self.path("templates"))
    }

    fn root(&self) -> Root {
        Root::new(self.path("root"), self.path("state"))
    }

    fn commit(&self, values: Value) -> Result<Changes, CommitError> {
        let rendered = self.set().unwrap().render(&values).unwrap();
        rendered
            .check(&self.root(), |_| Ok(ExitStatus::default()))
            .unwrap()
            .commit()
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path("root").join(path)).ok()
    }

    /// All files below the root, hidden ones too.
    fn files(&self) -> Vec<String> {
        let root = self.path("root");
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }
}

fn kinds(changes: &Changes) -> Vec<(&str, ChangeKind)> {
    changes.destinations().collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const WRITTEN: ChangeKind = ChangeKind::Written;
const REMOVED: ChangeKind = ChangeKind::Removed;

#[test]
fn a_set_is_rendered_in_place_with_its_modes() {
    let machine = Machine::new(&[
        ("etc/a/b/x.toml", "k = {{s}}\n"),
        ("run/y.env", "K={{s}}\n"),
        (
            "run/y.env.template.toml",
            "mode = \"0640\"\nrestart = [\"y.service\"]\nreload = [\"z.service\"]\n",
        ),
        (
            "etc/old.conf.mustache_unsafe_0644",
            "k {{{s}}}\n{{nothing}}",
        ),
    ]);
    let set = machine.set().unwrap();
    let destinations: Vec<_> = set
        .destinations()
        .map(|(_, destination)| destination)
        .collect();
    assert_eq!(
        destinations,
        ["etc/a/b/x.toml", "etc/old.conf", "run/y.env"]
    );
    let rendered = set.render(&json!({ "s": "v w" })).unwrap();
    assert_eq!(rendered.warnings().len(), 1);
    assert_eq!(rendered.content("run/y.env"), Some("K=\"v w\"\n"));
    assert!(!format!("{rendered:?}").contains("v w"));
    let checked = rendered
        .check(&machine.root(), |_| panic!("there is no checker"))
        .unwrap();
    let changes = checked.commit().unwrap();
    let all = [
        ("etc/a/b/x.toml", WRITTEN),
        ("etc/old.conf", WRITTEN),
        ("run/y.env", WRITTEN),
    ];
    assert_eq!(kinds(&changes), all);
    assert_eq!(
        machine.files(),
        ["etc/a/b/x.toml", "etc/old.conf", "run/y.env"]
    );
    assert_eq!(machine.read("etc/old.conf").unwrap(), "k v w\n");
    assert_eq!(mode(&machine.path("root/etc/a/b/x.toml")), 0o600);
    assert_eq!(mode(&machine.path("root/etc/old.conf")), 0o644);
    assert_eq!(mode(&machine.path("root/run/y.env")), 0o640);
    assert_eq!(mode(&machine.path("root/etc/a")), 0o755);
    assert_eq!(mode(&machine.path("state")), 0o700);
    // Nothing rendered is left beside the destinations.
    assert_eq!(fs::read_dir(machine.path("state")).unwrap().count(), 1);
}

#[test]
fn only_what_changed_is_reported_and_until_units_were_told() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{a}}\n"),
        (
            "etc/a.toml.template.toml",
            "reload = [\"a.service\", \"b.service\"]\n",
        ),
        ("etc/b.toml", "k = {{b}}\n"),
        ("etc/b.toml.template.toml", "restart = [\"b.service\"]\n"),
    ]);
    let first = machine.commit(json!({ "a": 1, "b": 1 })).unwrap();
    assert_eq!(
        first.reload().into_iter().collect::<Vec<_>>(),
        ["a.service"]
    );
    assert_eq!(
        first.restart().into_iter().collect::<Vec<_>>(),
        ["b.service"]
    );
    first.done().unwrap();
    let inode = || fs::metadata(machine.path("root/etc/a.toml")).unwrap().ino();
    let before = inode();
    let same = machine.commit(json!({ "a": 1, "b": 1 })).unwrap();
    assert!(same.is_empty());
    assert_eq!(inode(), before);
    same.done().unwrap();
    // The agent dies before it tells the unit.
    drop(machine.commit(json!({ "a": 1, "b": 2 })).unwrap());
    let recovered = machine.root().recover().unwrap();
    assert_eq!(kinds(&recovered), [("etc/b.toml", WRITTEN)]);
    drop(recovered);
    // It is reported already, and yet has to be written.
    drop(machine.commit(json!({ "a": 1, "b": 3 })).unwrap());
    assert_eq!(machine.read("etc/b.toml").unwrap(), "k = 3\n");
    let again = machine.commit(json!({ "a": 2, "b": 3 })).unwrap();
    assert_eq!(
        kinds(&again),
        [("etc/a.toml", WRITTEN), ("etc/b.toml", WRITTEN)]
    );
    again.done().unwrap();
    assert!(machine.root().recover().unwrap().is_empty());
}

#[test]
fn what_somebody_else_changed_is_put_right() {
    let machine = Machine::new(&[("etc/a.toml", "k = {{a}}\n")]);
    machine.commit(json!({ "a": 1 })).unwrap().done().unwrap();
    let path = machine.path("root/etc/a.toml");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(!machine.commit(json!({ "a": 1 })).unwrap().is_empty());
    assert_eq!(mode(&path), 0o600);
    fs::remove_file(&path).unwrap();
    let elsewhere = machine.path("elsewhere");
    fs::write(&elsewhere, "k = 1\n").unwrap();
    symlink(&elsewhere, &path).unwrap();
    let _ = machine.commit(json!({ "a": 2 })).unwrap();
    assert!(!path.is_symlink());
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "k = 1\n");
}

#[test]
fn an_optional_file_goes_with_its_key() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{disk.key}}\n"),
        (
            "etc/a.toml.template.toml",
            "only_with = \"disk.key\"\nrestart = [\"a.service\"]\n",
        ),
    ]);
    assert!(machine.commit(json!({ "disk": {} })).unwrap().is_empty());
    machine
        .commit(json!({ "disk": { "key": "k" } }))
        .unwrap()
        .done()
        .unwrap();
    assert!(machine.read("etc/a.toml").is_some());
    let gone = machine.commit(json!({ "disk": { "key": null } })).unwrap();
    assert_eq!(kinds(&gone), [("etc/a.toml", REMOVED)]);
    assert_eq!(
        gone.restart().into_iter().collect::<Vec<_>>(),
        ["a.service"]
    );
    gone.done().unwrap();
    assert_eq!(machine.files(), [""; 0]);
    assert!(machine.commit(json!({})).unwrap().is_empty());
}

#[test]
fn nothing_is_written_if_one_template_is_wrong() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{a}}\n"),
        ("etc/b.toml", "k = {{secret.b}}\n"),
    ]);
    let render = |values| machine.set().unwrap().render(&values);
    let error = render(json!({ "a": 1, "secret": { "c": "hunter2" } })).unwrap_err();
    assert_eq!(error.to_string(), "etc/b.toml: line 1: secret.b: missing");
    let error = render(json!({ "a": 1, "a#base64": "hunter2" })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration: a#base64: not base64 of UTF-8 text"
    );
    assert!(matches!(render(json!([])), Err(SetRenderError::Values(_))));
    assert_eq!(machine.files(), [""; 0]);
}

#[test]
fn what_does_not_parse_is_refused_without_what_is_in_it() {
    let machine = Machine::new(&[("etc/a.toml.mustache_unsafe", "k = 1\n{{{s}}}\n")]);
    let rendered = machine
        .set()
        .unwrap()
        .render(&json!({ "s": "hunter2 = = 3" }))
        .unwrap();
    let error = rendered
        .check(&machine.root(), |_| panic!("no checker"))
        .unwrap_err();
    let CheckError::NotWellFormed { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.to_string(), "line 2: not well-formed");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    assert_eq!(machine.files(), [""; 0]);
}

#[test]
fn checkers_see_a_private_file_and_can_refuse() {
    let machine = Machine::new(&[
        ("etc/ha.cfg", "bind {{a}}\n"),
        (
            "etc/ha.cfg.template.toml",
            "format = \"haproxy\"\nmode = \"0644\"\ncheck = [\"/bin/check\", \"-c\", \"-f={}\"]\n",
        ),
    ]);
    let rendered = || {
        machine
            .set()
            .unwrap()
            .render(&json!({ "a": ":443" }))
            .unwrap()
    };
    let mut seen = Vec::new();
    let look = |checker: Checker<'_>| {
        assert_eq!(
            (checker.destination, checker.program),
            ("etc/ha.cfg", "/bin/check")
        );
        let path = checker
            .arguments
            .last()
            .unwrap()
            .strip_prefix("-f=")
            .unwrap()
            .to_owned();
        assert_eq!(fs::read_to_string(&path).unwrap(), "bind :443\n");
        assert_eq!(mode(Path::new(&path)), 0o600);
        assert_eq!(mode(Path::new(&path).parent().unwrap()), 0o700);
        seen.push(path);
        Ok(ExitStatus::from_raw(1 << 8))
    };
    let error = rendered().check(&machine.root(), look).unwrap_err();
    assert_eq!(
        error.to_string(),
        "etc/ha.cfg: /bin/check refuses the rendered file: exit status: 1"
    );
    assert!(!Path::new(seen.first().unwrap()).exists());
    assert_eq!(machine.files(), [""; 0]);
    let missing = |_: Checker<'_>| Err(io::Error::from(io::ErrorKind::NotFound));
    let error = rendered().check(&machine.root(), missing).unwrap_err();
    assert!(matches!(error, CheckError::Run { .. }));
    let grep = |checker: Checker<'_>| {
        let path = checker
            .arguments
            .last()
            .unwrap()
            .strip_prefix("-f=")
            .unwrap();
        Command::new("grep").args(["-q", "443", path]).status()
    };
    let _ = rendered()
        .check(&machine.root(), grep)
        .unwrap()
        .commit()
        .unwrap();
    assert_eq!(machine.read("etc/ha.cfg").unwrap(), "bind :443\n");
}

#[test]
fn a_start_removes_what_a_check_that_was_cut_off_has_left() {
    let machine = Machine::new(&[("etc/a.toml", "k = {{a}}\n")]);
    let left = machine.path("state/staging/etc");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("a.toml"), "k = \"hunter2\"\n").unwrap();
    assert!(machine.root().recover().unwrap().is_empty());
    assert!(!machine.path("state/staging").exists());
    // And if there is nothing, or not even a state.
    assert!(machine.root().recover().unwrap().is_empty());
    // What cannot be removed is said.
    fs::write(machine.path("state/staging"), "no folder").unwrap();
    let error = machine.root().recover().unwrap_err();
    assert!(matches!(error, CommitError::Staging { .. }), "{error}");
}

#[test]
fn checkers_see_the_other_files_beside_theirs() {
    let machine = Machine::new(&[
        ("run/ha/ha.cfg", "list {{a}}\n"),
        (
            "run/ha/ha.cfg.template.toml",
            "format = \"haproxy\"\ncheck = [\"/bin/check\", \"{}\"]\n",
        ),
        ("run/ha/list.txt", "{{a}}\n"),
    ]);
    let rendered = machine.set().unwrap().render(&json!({ "a": 7 })).unwrap();
    let beside = |checker: Checker<'_>| {
        let list = Path::new(&checker.arguments[0]).with_file_name("list.txt");
        assert_eq!(fs::read_to_string(list).unwrap(), "7\n");
        Ok(ExitStatus::default())
    };
    rendered.check(&machine.root(), beside).unwrap();
}

#[test]
fn a_unit_that_was_told_is_not_reported_again() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{a}}\n"),
        (
            "etc/a.toml.template.toml",
            "reload = [\"a.service\"]\nrestart = [\"b.service\"]\n",
        ),
    ]);
    let mut changes = machine.commit(json!({ "a": 1 })).unwrap();
    changes.told("b.service").unwrap();
    assert!(changes.restart().is_empty());
    // The agent dies before it tells the other.
    drop(changes);
    let mut again = machine.commit(json!({ "a": 1 })).unwrap();
    assert!(again.restart().is_empty());
    assert_eq!(
        again.reload().into_iter().collect::<Vec<_>>(),
        ["a.service"]
    );
    again.told("a.service").unwrap();
    again.done().unwrap();
    let changed = machine.commit(json!({ "a": 2 })).unwrap();
    assert_eq!(changed.restart().len(), 1);
    assert_eq!(changed.reload().len(), 1);
}

#[test]
fn links_on_the_way_are_not_followed() {
    let machine = Machine::new(&[("run/service/x.toml", "k = {{a}}\n")]);
    let outside = machine.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(machine.path("root/run")).unwrap();
    symlink(&outside, machine.path("root/run/service")).unwrap();
    let error = machine.commit(json!({ "a": 1 })).unwrap_err();
    assert!(matches!(error, CommitError::File { .. }), "{error}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_destination_that_cannot_be_written_leaves_all_as_it_was() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{a}}\n"),
        ("run/b/c.toml", "k = {{a}}\n"),
    ]);
    machine.commit(json!({ "a": 1 })).unwrap().done().unwrap();
    fs::remove_dir_all(machine.path("root/run/b")).unwrap();
    fs::write(machine.path("root/run/b"), "in the way").unwrap();
    let error = machine.commit(json!({ "a": 2 })).unwrap_err();
    assert!(error.to_string().starts_with("run/b/c.toml: "), "{error}");
    assert_eq!(machine.read("etc/a.toml").unwrap(), "k = 1\n");
    assert_eq!(machine.files(), ["etc/a.toml", "run/b"]);
}

#[test]
fn owners_are_of_the_roots_own_tables() {
    let machine = Machine::new(&[
        ("etc/a.toml", "k = {{a}}\n"),
        (
            "etc/a.toml.template.toml",
            "owner = \"haproxy\"\ngroup = \"ha\"\nmode = \"0640\"\n",
        ),
    ]);
    let error = machine.commit(json!({ "a": 1 })).unwrap_err();
    assert!(matches!(error, CommitError::Account { .. }), "{error}");
    assert_eq!(machine.files(), [""; 0]);
    fs::write(
        machine.path("root/etc/passwd"),
        "haproxy:x:41001:41001::/:/bin/false\n",
    )
    .unwrap();
    fs::write(machine.path("root/etc/group"), "ha:x:41002:\n").unwrap();
    let committed = machine.commit(json!({ "a": 1 }));
    if fs::metadata(machine.path("root")).unwrap().uid() != 0 {
        // Nobody but root gives files away.
        let error = committed.unwrap_err();
        assert!(matches!(error, CommitError::File { .. }), "{error}");
        assert_eq!(machine.files(), ["etc/group", "etc/passwd"]);
        return;
    }
    committed.unwrap().done().unwrap();
    let metadata = fs::metadata(machine.path("root/etc/a.toml")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (41001, 41002));
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert!(machine.commit(json!({ "a": 1 })).unwrap().is_empty());
}

#[test]
fn folders_that_are_no_sets_are_refused() {
    let read = |templates: &[(&str, &str)]| Machine::new(templates).set().unwrap_err();
    let error = read(&[("etc/a.cfg", "")]);
    assert!(
        error
            .to_string()
            .starts_with("etc/a.cfg: the format is not known"),
        "{error}"
    );
    assert!(matches!(
        read(&[("a.toml.template.toml", "")]),
        ReadError::Orphan { .. }
    ));
    assert!(matches!(
        read(&[("a.mustache_99", "")]),
        ReadError::FileName { .. }
    ));
    assert!(matches!(
        read(&[("a.mustache_0777", "")]),
        ReadError::FileName { .. }
    ));
    assert!(matches!(
        read(&[("a.toml", ""), ("a.toml.mustache", "")]),
        ReadError::Conflict { .. }
    ));
    let folder = [("a.toml.mustache", ""), ("a.toml/x.env", "")];
    assert!(matches!(read(&folder), ReadError::Conflict { .. }));
    assert!(matches!(
        read(&[("a.toml", "{{a}} = 1")]),
        ReadError::Parse(_)
    ));
    assert!(matches!(
        read(&[("a\nb.toml", "")]),
        ReadError::NotATemplate { .. }
    ));
    let error = read(&[
        ("a.toml", ""),
        ("a.toml.template.toml", "reload = []\nmoed = 1\n"),
    ]);
    let text = error.to_string();
    assert!(
        text.contains("a.toml.template.toml") && text.contains("line 2"),
        "{text}"
    );
    let machine = Machine::new(&[("a.toml", "")]);
    symlink("a.toml", machine.path("templates/b.toml")).unwrap();
    assert!(matches!(
        machine.set().unwrap_err(),
        ReadError::NotATemplate { .. }
    ));
    let error = Set::read(&machine.path("nowhere")).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
}
