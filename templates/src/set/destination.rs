//! Where a file is written: a path that stays below its root.
//!
//! I/O: none.

/// The end of a file's name until it is complete.
const STAGED: &str = ".cvm-new";

/// A relative path of plain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination(String);

impl Destination {
    /// Parses `etc/x/y.toml`: no empty name, no `.` or `..`, no control characters, no name that is ours.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let is_plain = !matches!(name, "" | "." | "..") && !name.ends_with(STAGED);
            is_plain && !name.chars().any(char::is_control)
        };
        let is_path = path.split('/').all(is_name);
        is_path.then(|| Self(path.to_owned()))
    }

    /// The path, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders to pass, and the file's name.
    pub(super) fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (folders, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (folders.split('/').filter(|name| !name.is_empty()), name)
    }

    /// What the file is called until it is complete.
    pub(super) fn staged(&self) -> Self {
        let (folder, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        let slash = if folder.is_empty() { "" } else { "/" };
        Self(format!("{folder}{slash}.{name}{STAGED}"))
    }

    /// Whether both cannot exist: the same path, or one is a folder of the other.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        let is_inside = |inner: &str, outer: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_inside(&self.0, &other.0) || is_inside(&other.0, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_root_are_no_destinations() {
        for path in [
            "",
            "/etc/x",
            "../x",
            "a/../b",
            "a//b",
            "./a",
            "a/",
            "a/.",
            "a\nb",
            ".a.cvm-new",
        ] {
            assert_eq!(Destination::parse(path), None, "{path}");
        }
        let destination = Destination::parse("etc/x/y.toml").unwrap();
        assert_eq!(destination.staged().as_str(), "etc/x/.y.toml.cvm-new");
        assert_eq!(
            Destination::parse("y").unwrap().staged().as_str(),
            ".y.cvm-new"
        );
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_conflict() {
        let conflict = |a, b| {
            Destination::parse(a)
                .unwrap()
                .conflicts(&Destination::parse(b).unwrap())
        };
        assert!(conflict("a/b", "a/b"));
        assert!(conflict("a/b", "a"));
        assert!(conflict("a", "a/b/c"));
        assert!(!conflict("a/b", "a/bc"));
    }
}
