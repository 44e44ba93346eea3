//! The steps of a commit, and of what a crash left of one.
//!
//! No step is ever half done: each is one rename, or writes a file that nobody reads before a rename.
//!
//! I/O: reads and writes destinations below the root, and the journal.

use std::collections::BTreeMap;
use std::io;

use super::commit::{Change, ChangeKind, CommitError};
use super::destination::Destination;
use super::journal::{self, Journal, Phase, Units};
use super::root::{New, Root};
use super::{File, Rendered};

/// A step.
pub(super) enum Step<'c> {
    Note(Journal),
    Stage(&'c Destination, New<'c>),
    /// Puts what was just staged in place.
    Place(Destination),
    /// The same behind a crash, which may have been behind it.
    Swap(Destination),
    Remove(Destination),
}

/// Compares the set with what is there. No steps if all is as it should be.
pub(super) fn plan<'c>(
    rendered: &'c Rendered,
    root: &Root,
    before: Journal,
) -> Result<Vec<Step<'c>>, CommitError> {
    let accounts = Accounts::read(root)?;
    let mut after = before.clone();
    after.owned = BTreeMap::new();
    let mut staged = Vec::new();
    for file in &rendered.files {
        let destination = file.destination.as_str().to_owned();
        let units = Units {
            reload: file.declaration.reload.clone(),
            restart: file.declaration.restart.clone(),
        };
        let new = accounts.resolve(file)?;
        if !is_there(root, &file.destination, &new)? {
            after.note(&destination, ChangeKind::Written, &units);
            staged.push((&file.destination, new));
        }
        after.owned.insert(destination, units);
    }
    let mut removed = Vec::new();
    for (destination, units) in &before.owned {
        if !after.owned.contains_key(destination) {
            after.note(destination, ChangeKind::Removed, units);
            removed.push(destination.clone());
        }
    }
    if staged.is_empty() && removed.is_empty() && after.owned == before.owned {
        return Ok(Vec::new());
    }
    let written: Vec<String> = staged
        .iter()
        .map(|(file, _)| file.as_str().to_owned())
        .collect();
    let mut steps = vec![Step::Note(Journal {
        phase: Phase::Staging(written.clone()),
        ..before
    })];
    steps.extend(
        staged
            .into_iter()
            .map(|(destination, new)| Step::Stage(destination, new)),
    );
    after.phase = Phase::Swapping { written, removed };
    steps.push(Step::Note(after.clone()));
    steps.extend(completion(&after.phase).into_iter().map(|step| match step {
        Step::Swap(file) => Step::Place(file),
        step => step,
    }));
    after.phase = Phase::Idle;
    steps.push(Step::Note(after));
    Ok(steps)
}

/// What is left to do in this phase but to note that it is over.
fn completion(phase: &Phase) -> Vec<Step<'static>> {
    // What cannot be parsed was not written by us.
    let parsed = |names: &[String]| -> Vec<Destination> {
        names
            .iter()
            .filter_map(|name| Destination::parse(name))
            .collect()
    };
    match phase {
        Phase::Idle => Vec::new(),
        Phase::Staging(files) => {
            let files = parsed(files).into_iter();
            files.map(|file| Step::Remove(file.staged())).collect()
        }
        Phase::Swapping { written, removed } => {
            let swaps = parsed(written).into_iter().map(Step::Swap);
            swaps
                .chain(parsed(removed).into_iter().map(Step::Remove))
                .collect()
        }
    }
}

/// Completes a commit whose files were all written, undoes any other.
pub(super) fn recover(root: &Root) -> Result<Journal, CommitError> {
    let mut journal = read_journal(root)?;
    if journal.phase != Phase::Idle {
        completion(&journal.phase)
            .iter()
            .try_for_each(|step| step.apply(root))?;
        journal.phase = Phase::Idle;
        write_journal(root, &journal)?;
    }
    Ok(journal)
}

/// Throws away what was written of a set that will not be complete.
pub(super) fn undo_staging(root: &Root) -> Result<(), CommitError> {
    match read_journal(root)?.phase {
        Phase::Staging(_) => recover(root).map(drop),
        _ => Ok(()),
    }
}

impl Step<'_> {
    pub(super) fn apply(&self, root: &Root) -> Result<(), CommitError> {
        match self {
            Self::Note(journal) => write_journal(root, journal),
            Self::Stage(file, new) => {
                let written = root.write(&file.staged(), new);
                written.map_err(|source| CommitError::File {
                    destination: file.as_str().to_owned(),
                    action: "write the new file beside it",
                    source,
                })
            }
            Self::Place(file) | Self::Swap(file) => {
                let swapped = root.swap(&file.staged(), file);
                let swapped = match swapped {
                    // Somebody has taken away the file or its folder: nothing new is in place.
                    Ok(false) if matches!(self, Self::Place(_)) => {
                        Err(io::ErrorKind::NotFound.into())
                    }
                    swapped => swapped.map(drop),
                };
                swapped.map_err(|source| CommitError::Swap {
                    destination: file.as_str().to_owned(),
                    source,
                })
            }
            Self::Remove(file) => {
                let removed = root.remove(file);
                removed.map_err(|source| CommitError::File {
                    destination: file.as_str().to_owned(),
                    action: "remove it",
                    source,
                })
            }
        }
    }
}

impl Journal {
    fn note(&mut self, destination: &str, kind: ChangeKind, units: &Units) {
        let change = self
            .pending
            .entry(destination.to_owned())
            .or_insert_with(|| Change {
                kind,
                reload: Vec::new(),
                restart: Vec::new(),
            });
        change.kind = kind;
        // Those of an earlier change have not been told either.
        add(&mut change.reload, &units.reload);
        add(&mut change.restart, &units.restart);
    }
}

fn add(units: &mut Vec<String>, more: &[String]) {
    for unit in more {
        if !units.contains(unit) {
            units.push(unit.clone());
        }
    }
}

pub(super) fn read_journal(root: &Root) -> Result<Journal, CommitError> {
    Journal::read(root.state()).map_err(|source| CommitError::Journal {
        path: journal::path(root.state()),
        source,
    })
}

pub(super) fn write_journal(root: &Root, journal: &Journal) -> Result<(), CommitError> {
    journal
        .write(root.state())
        .map_err(|source| CommitError::Journal {
            path: journal::path(root.state()),
            source,
        })
}

/// Whether the destination is as it should be.
fn is_there(root: &Root, file: &Destination, new: &New<'_>) -> Result<bool, CommitError> {
    let existing = root.read(file).map_err(|source| CommitError::File {
        destination: file.as_str().to_owned(),
        action: "read it",
        source,
    })?;
    Ok(existing.is_some_and(|existing| {
        existing.content == new.content.as_bytes()
            && existing.mode == new.mode
            && existing.owner == new.owner.unwrap_or(rustix::process::geteuid().as_raw())
            && new.group.is_none_or(|group| existing.group == group)
    }))
}

/// The root's tables.
struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    fn read(root: &Root) -> Result<Self, CommitError> {
        let table = |path: &'static str| {
            let read = root.read_table(path);
            read.map_err(|source| CommitError::Accounts { path, source })
        };
        Ok(Self {
            users: table("etc/passwd")?,
            groups: table("etc/group")?,
        })
    }

    fn resolve<'c>(&self, file: &'c File) -> Result<New<'c>, CommitError> {
        let find = |account: &Option<super::accounts::Account>, table: &str| match account {
            None => Ok(None),
            Some(account) => match account.find(table) {
                Some(id) => Ok(Some(id)),
                None => Err(CommitError::Account {
                    destination: file.destination.as_str().to_owned(),
                    account: account.clone(),
                }),
            },
        };
        Ok(New {
            content: &file.content,
            mode: file.declaration.mode(),
            owner: find(&file.declaration.owner, &self.users)?,
            group: find(&file.declaration.group, &self.groups)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::Set;

    const FILES: [&str; 3] = ["etc/a.toml", "etc/b.toml", "run/c/d.toml"];

    /// A root in which the first configuration is in place, and the second is rendered.
    fn prepare(folder: &Path) -> (Root, Rendered) {
        let templates = folder.join("templates");
        for (file, key) in FILES.into_iter().zip(["a", "b", "d"]) {
            let path = templates.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("k = {{{{{key}}}}}\n")).unwrap();
            let declaration = format!("only_with = \"{key}\"\nrestart = [\"{key}.service\"]\n");
            fs::write(path.with_extension("toml.template.toml"), declaration).unwrap();
        }
        fs::create_dir(folder.join("root")).unwrap();
        let root = Root::new(folder.join("root"), folder.join("state"));
        let set = Set::read(&templates).unwrap();
        let first = set.render(&json!({ "a": 1, "b": 1 })).unwrap();
        let checked = first.check(&root, |_| panic!("no checker")).unwrap();
        checked.commit().unwrap().done().unwrap();
        (root, set.render(&json!({ "a": 2, "d": 2 })).unwrap())
    }

    fn read(folder: &Path) -> [Option<String>; 3] {
        FILES.map(|file| fs::read_to_string(folder.join("root").join(file)).ok())
    }

    fn leftovers(folder: &Path) -> usize {
        let folders = ["root/etc", "root/run/c"].into_iter();
        let entries = folders
            .filter_map(|path| fs::read_dir(folder.join(path)).ok())
            .flatten();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with('.'))
            .count()
    }

    #[test]
    fn a_crash_behind_any_step_leaves_all_old_or_all_new_files() {
        let old = [Some("k = 1\n".to_owned()), Some("k = 1\n".to_owned()), None];
        let new = [Some("k = 2\n".to_owned()), None, Some("k = 2\n".to_owned())];
        let mut outcomes = Vec::new();
        for crash in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let (root, rendered) = prepare(folder.path());
            let journal = read_journal(&root).unwrap();
            let steps = plan(&rendered, &root, journal).unwrap();
            if crash > steps.len() {
                break;
            }
            for step in steps.iter().take(crash) {
                step.apply(&root).unwrap();
            }
            // Power is back; and goes again while it is being repaired, and comes again.
            for repaired in 0..3 {
                let left = completion(&read_journal(&root).unwrap().phase);
                left.iter()
                    .take(repaired)
                    .for_each(|step| step.apply(&root).unwrap());
            }
            let changes = root.recover().unwrap();
            let told: Vec<String> = changes.restart().into_iter().map(str::to_owned).collect();
            let now = read(folder.path());
            if now == old {
                assert!(changes.is_empty(), "{crash}");
            } else {
                assert_eq!(now, new, "{crash}");
                assert_eq!(told, ["a.service", "b.service", "d.service"], "{crash}");
            }
            assert_eq!(leftovers(folder.path()), 0, "{crash}");
            outcomes.push(now == new);
            // And the next commit gets there in any case.
            let checked = rendered.check(&root, |_| panic!("no checker")).unwrap();
            assert_eq!(checked.commit().unwrap().restart().len(), 3, "{crash}");
            assert_eq!(read(folder.path()), new, "{crash}");
            assert_eq!(leftovers(folder.path()), 0, "{crash}");
        }
        // Staging, two files, swapping: then there is no way back.
        let forward = outcomes.iter().position(|is_new| *is_new);
        assert_eq!(forward, Some(4));
        assert!(
            outcomes.iter().skip(4).all(|is_new| *is_new),
            "{outcomes:?}"
        );
        assert_eq!(outcomes.len(), 9);
    }

    #[test]
    fn what_vanished_before_it_was_put_in_place_is_an_error_and_written_by_the_next_commit() {
        // The last file's folder, or only what was written there.
        for takes_folder in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (root, rendered) = prepare(folder.path());
            let steps = plan(&rendered, &root, read_journal(&root).unwrap()).unwrap();
            let mut failures = Vec::new();
            for step in &steps {
                if let Step::Place(file) = step
                    && file.as_str() == "run/c/d.toml"
                {
                    let place = folder.path().join("root/run/c");
                    if takes_folder {
                        fs::remove_dir_all(place).unwrap();
                    } else {
                        fs::remove_file(place.join(".d.toml.cvm-new")).unwrap();
                    }
                }
                if let Err(error) = step.apply(&root) {
                    failures.push(error);
                    break;
                }
            }
            let [
                CommitError::Swap {
                    destination,
                    source,
                },
            ] = failures.as_slice()
            else {
                panic!("{failures:?}");
            };
            assert_eq!(destination, "run/c/d.toml");
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
            let checked = rendered.check(&root, |_| panic!("no checker")).unwrap();
            assert_eq!(checked.commit().unwrap().restart().len(), 3);
            assert_eq!(read(folder.path())[2].as_deref(), Some("k = 2\n"));
        }
    }

    #[test]
    fn a_damaged_journal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (root, _) = prepare(folder.path());
        fs::write(folder.path().join("state/journal.json"), "{").unwrap();
        assert!(matches!(root.recover(), Err(CommitError::Journal { .. })));
    }
}
