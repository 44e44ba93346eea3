//! Which of its entries systemd-boot starts, if no EFI variable and nobody at the console says
//! otherwise.
//!
//! Mirrors systemd v257 `src/boot/boot.c`: `config_load_type2_entries`, `boot_entry_add_type2`,
//! `boot_entry_compare`, `config_select_default_entry`. What else it may start (entries of type 1,
//! patterns that name a profile) leaves the choice to the user.
//!
//! I/O: reads `loader.conf` and the section `.osrel` of each UKI.

mod key_value;
mod version_order;

use std::cmp::{Ordering, Reverse};
use std::io::{Read, Seek};

use super::esp::Esp;
use super::{BootChainError, ImageError, Partition};
use crate::pe::{self, SectionHeader};
use crate::pe_file::{PeFile, PeFileError};
use crate::source::{Content, Source};
use crate::uki::PROFILE;
use key_value::{last_text, last_value};

/// Where systemd-boot looks for UKIs: UAPI.1 "Boot Loader Specification", type 2.
pub(super) const FOLDER: [&str; 2] = ["EFI", "Linux"];

/// Where it looks for entries of type 1: text files.
const TYPE_1_FOLDER: [&str; 2] = ["loader", "entries"];

const LOADER_CONF: [&str; 2] = ["loader", "loader.conf"];

/// The section that says what a UKI is.
const OS_RELEASE: &[u8] = b".osrel";

/// What is looked at in it.
const KEYS: [&str; 8] = [
    "PRETTY_NAME",
    "IMAGE_ID",
    "NAME",
    "ID",
    "IMAGE_VERSION",
    "VERSION",
    "VERSION_ID",
    "BUILD_ID",
];

/// Most that is read of a text file, or of `.osrel`.
const MAX_TEXT_SIZE: u64 = 64 << 10;

/// Most UKIs that are looked at.
const MAX_ENTRIES: usize = 256;

/// The entry that is started.
#[derive(Debug)]
pub(super) struct Entry {
    /// The UKI's file name in [`FOLDER`].
    pub(super) name: String,
    /// What the user should know about the choice.
    pub(super) notes: Vec<String>,
}

/// What the order of the menu depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    name: String,
    /// The name in lower case, without boot counters.
    id: String,
    tries: Option<(u32, u32)>,
    sort_key: Option<String>,
    version: String,
}

/// A file of which it is not known where in the menu it is, or whether.
#[derive(Debug)]
struct Undecided {
    name: String,
    /// Why; the file's name is the subject.
    reason: String,
}

#[derive(Debug, Default)]
struct Menu {
    candidates: Vec<Candidate>,
    undecided: Vec<Undecided>,
}

/// What a file in [`FOLDER`] is for systemd-boot.
enum File {
    /// Not in the menu.
    Nothing,
    Candidate(Candidate),
    /// Depends on its version, or on what is not mirrored here.
    Undecided(String),
}

/// Chooses the entry that is named, or the one that systemd-boot takes by itself.
///
/// # Errors
///
/// [`BootChainError`] if there is none, or it is not known which.
pub(super) fn choose<R: Read + Seek>(
    source: &mut Source<R>,
    partition: &Partition,
    wanted: Option<&str>,
) -> Result<Entry, ImageError> {
    let Menu {
        mut candidates,
        undecided: open,
    } = read_menu(source, partition)?;
    candidates.sort_by(compare);
    let names = candidates.iter().map(|c| c.name.clone());
    let names: Vec<String> = names.chain(open.iter().map(|o| o.name.clone())).collect();
    if let Some(wanted) = wanted {
        let found = names.iter().find(|name| name.eq_ignore_ascii_case(wanted));
        let name = found.cloned().ok_or_else(|| BootChainError::UnknownEntry {
            wanted: wanted.to_owned(),
            candidates: names.clone(),
        })?;
        let notes = Vec::new();
        return Ok(Entry { name, notes });
    }
    let undecided = |reason: &str| BootChainError::UndecidedEntry {
        reason: reason.to_owned(),
        candidates: names.clone(),
    };
    if let Some(Undecided { name, reason }) = open.first() {
        return Err(undecided(&format!("{name} {reason}")).into());
    }
    let mut esp = Esp::new(source, partition);
    let mut others = esp.file_names(&TYPE_1_FOLDER)?;
    others.retain(|name| name.to_ascii_lowercase().ends_with(".conf"));
    if !others.is_empty() {
        return Err(undecided("there are entries of type 1 (loader/entries) too").into());
    }
    let conf = esp.read(&LOADER_CONF, MAX_TEXT_SIZE)?.unwrap_or_default();
    let conf = String::from_utf8_lossy(&conf).into_owned();
    let setting = |key| last_value(&conf, key, &[' ', '\t']);
    // systemd v260 src/boot/boot.c: looked at before "default".
    if setting("preferred").is_some() {
        return Err(undecided("loader.conf says \"preferred\"").into());
    }
    let pattern = setting("default").map(|pattern| pattern.to_lowercase());
    // What was booted last is in an EFI variable, which a new machine does not have.
    let pattern = pattern.filter(|pattern| pattern != "@saved");
    if pattern
        .as_ref()
        .is_some_and(|p| p.contains(['@', '[', '\\']))
    {
        return Err(undecided("the pattern of loader.conf's \"default\" is not simple").into());
    }
    let by_pattern = pattern.and_then(|p| candidates.iter().find(|c| matches(&p, &c.id)));
    let chosen = by_pattern.or(candidates.first());
    let name = chosen.ok_or(BootChainError::NoEntry)?.name.clone();
    let mut notes = Vec::new();
    if names.len() > 1 {
        let all = names.join(", ");
        notes.push(format!("systemd-boot starts {name} by itself, of {all}"));
    }
    Ok(Entry { name, notes })
}

fn read_menu<R: Read + Seek>(
    source: &mut Source<R>,
    partition: &Partition,
) -> Result<Menu, ImageError> {
    let mut names = Esp::new(source, partition).file_names(&FOLDER)?;
    names.retain(|name| {
        let lower = name.to_ascii_lowercase();
        lower.ends_with(".efi") && !lower.starts_with(['.']) && !lower.starts_with("auto-")
    });
    if names.len() > MAX_ENTRIES {
        let reason = format!("there are more than {MAX_ENTRIES}");
        let candidates = Vec::new();
        return Err(BootChainError::UndecidedEntry { reason, candidates }.into());
    }
    let mut menu = Menu::default();
    for name in names {
        let path: Vec<&str> = FOLDER.into_iter().chain([name.as_str()]).collect();
        let content = Esp::new(source, partition).locate(&path)?;
        match read_file(source, &name, content)? {
            File::Nothing => {}
            File::Candidate(candidate) => menu.candidates.push(candidate),
            File::Undecided(reason) => menu.undecided.push(Undecided { name, reason }),
        }
    }
    Ok(menu)
}

/// What `boot_entry_add_type2` makes of a file.
fn read_file<R: Read + Seek>(
    source: &mut Source<R>,
    name: &str,
    content: Content,
) -> Result<File, ImageError> {
    let head = source.read_head(&content, pe::MAX_HEAD_SIZE)?;
    if !pe::may_be_x64(&head, content.size()) {
        return Ok(File::Nothing);
    }
    let file = match PeFile::read(source, content) {
        Ok(file) => file,
        Err(PeFileError::Read(error)) => return Err(error.into()),
        // systemd-boot is less strict.
        Err(PeFileError::Pe(error)) => {
            return Ok(File::Undecided(format!(
                "is a PE that systemd-boot may start, but {error}"
            )));
        }
    };
    let (id, tries) = split_counters(&name.to_lowercase());
    if let Some(reason) = ambiguity(file.sections(), tries.is_some()) {
        return Ok(File::Undecided(reason.to_owned()));
    }
    let mut sections = file.sections().iter();
    // What says not what it is, is not in the menu.
    let is_os_release = |s: &&SectionHeader| s.starts_with(OS_RELEASE) && s.virtual_size > 0;
    let Some(os_release) = sections.find(is_os_release) else {
        return Ok(File::Nothing);
    };
    let content = file.section_content(os_release)?;
    let text = source.read_head(&content, MAX_TEXT_SIZE)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.split('\0').next().unwrap_or_default();
    // `xstrn8_to_16` of v257 makes NULL of an empty value, as if the key were not there; that of
    // v259 does not, so that the sort key is an empty one.
    let is_empty = |key: &&&str| last_text(text, key, &['=']).is_some_and(|value| value.is_empty());
    if let Some(key) = KEYS.iter().find(is_empty) {
        let reason = format!("has an os-release with an empty {key}, which versions differ about");
        return Ok(File::Undecided(reason));
    }
    let field = |names: &[&str]| names.iter().find_map(|n| last_value(text, n, &['=']));
    // `bootspec_pick_name_version_sort_key`.
    if field(&["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"]).is_none() {
        return Ok(File::Nothing);
    }
    Ok(File::Candidate(Candidate {
        sort_key: field(&["IMAGE_ID", "ID"]),
        version: field(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]).unwrap_or_default(),
        name: name.to_owned(),
        id,
        tries,
    }))
}

/// Says why versions of systemd-boot make different entries of a UKI, if they do.
fn ambiguity(sections: &[SectionHeader], is_counted: bool) -> Option<&'static str> {
    let is_profile = |s: &SectionHeader| s.name_bytes() == PROFILE.as_bytes();
    let is_os_release = |s: &SectionHeader| s.starts_with(OS_RELEASE);
    let mut os_releases = sections.iter().filter(|s| is_os_release(s));
    let first = os_releases.next()?;
    if os_releases.next().is_some() {
        return Some(
            "has several sections .osrel, of which one version takes another than the next",
        );
    }
    if first.name_bytes() != OS_RELEASE {
        return Some(
            "has a section whose name begins with .osrel, which some versions take for it",
        );
    }
    let mut after = sections.iter().skip_while(|s| !is_profile(s));
    if after.any(is_os_release) {
        return Some("has an .osrel in a profile, which is for that profile only");
    }
    let profiles = sections.iter().filter(|s| is_profile(s)).count();
    (is_counted && profiles > 1).then_some("has several profiles, and counts its boots")
}

/// Takes boot counters off: `node+3-1.efi` is `node.efi` with 3 tries left and 1 done
/// (`boot_entry_parse_tries`).
fn split_counters(name: &str) -> (String, Option<(u32, u32)>) {
    let counters = || {
        let (id, counters) = name.strip_suffix(".efi")?.rsplit_once('+')?;
        let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_number);
            number.filter(|number: &u32| i32::try_from(*number).is_ok())
        };
        Some((format!("{id}.efi"), (number(left)?, number(done)?)))
    };
    match counters() {
        Some((id, tries)) => (id, Some(tries)),
        None => (name.to_owned(), None),
    }
}

/// The order of the menu: `boot_entry_compare`.
fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    let is_bad = |c: &Candidate| c.tries.is_some_and(|(left, _)| left == 0);
    let by_key = || match (&a.sort_key, &b.sort_key) {
        (Some(one), Some(other)) => one
            .encode_utf16()
            .cmp(other.encode_utf16())
            .then_with(|| version_order::compare(&b.version, &a.version)),
        (one, other) => one.is_none().cmp(&other.is_none()),
    };
    let by_tries = || match (a.tries, b.tries) {
        (Some(one), Some(other)) => {
            let order = |(left, done)| (Reverse(left), done);
            order(one).cmp(&order(other))
        }
        _ => Ordering::Equal,
    };
    is_bad(a)
        .cmp(&is_bad(b))
        .then_with(by_key)
        .then_with(|| version_order::compare(&b.id, &a.id))
        .then_with(by_tries)
}

/// Says whether `*` and `?` of the pattern can stand for what the text has there: `efi_fnmatch`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first: Vec<char> = parts.next().unwrap_or_default().chars().collect();
    let text: Vec<char> = text.chars().collect();
    let is_at = |part: &[char], at: usize| {
        let end = at.saturating_add(part.len());
        let here = text.get(at..end);
        here.is_some_and(|here| part.iter().zip(here).all(|(p, t)| *p == '?' || p == t))
    };
    if !is_at(&first, 0) {
        return false;
    }
    let mut at = first.len();
    let mut rest: Vec<Vec<char>> = parts.map(|part| part.chars().collect()).collect();
    let Some(last) = rest.pop() else {
        return at == text.len();
    };
    for part in rest {
        let found = (at..=text.len()).find(|at| is_at(&part, *at));
        let Some(found) = found else { return false };
        at = found.saturating_add(part.len());
    }
    let end = text.len().checked_sub(last.len());
    end.is_some_and(|end| end >= at && is_at(&last, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, sort_key: Option<&str>, version: &str) -> Candidate {
        let (id, tries) = split_counters(name);
        Candidate {
            name: name.to_owned(),
            id,
            tries,
            sort_key: sort_key.map(str::to_owned),
            version: version.to_owned(),
        }
    }

    #[test]
    fn menu_has_the_newest_first_and_what_failed_last() {
        let mut candidates = [
            candidate("a+0-3.efi", Some("a"), "9"),
            candidate("old.efi", None, ""),
            candidate("older.efi", None, ""),
            candidate("z.efi", Some("b"), "7"),
            candidate("node-1.9.efi", Some("b"), "1.9"),
            candidate("node-1.10.efi", Some("b"), "1.10"),
            candidate("node-1.10+2-1.efi", Some("b"), "1.10"),
            candidate("node-1.10+3.efi", Some("b"), "1.10"),
        ];
        candidates.sort_by(compare);
        let names = candidates.map(|c| c.name);
        assert_eq!(
            names,
            [
                "z.efi",
                "node-1.10.efi",
                "node-1.10+3.efi",
                "node-1.10+2-1.efi",
                "node-1.9.efi",
                "older.efi",
                "old.efi",
                "a+0-3.efi",
            ]
        );
    }

    #[test]
    fn counters_are_numbers_in_front_of_the_suffix() {
        let split = |name: &str| split_counters(name);
        assert_eq!(split("a+3.efi"), ("a.efi".to_owned(), Some((3, 0))));
        assert_eq!(split("a+b+3-12.efi"), ("a+b.efi".to_owned(), Some((3, 12))));
        for name in ["a.efi", "a+.efi", "a+3-.efi", "a+x.efi", "a+3.efi.efi"] {
            assert_eq!(split(name), (name.to_owned(), None), "{name}");
        }
    }

    #[test]
    fn pattern_stands_for_names() {
        for (pattern, text, expected) in [
            ("node-*.efi", "node-1.efi", true),
            ("node-*", "node-", true),
            ("*", "", true),
            ("node", "node.efi", false),
            ("n?de.efi", "node.efi", true),
            ("*a*b", "xxaxxbxb", true),
            ("a*a", "a", false),
            ("*.efi*", "node.conf", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
