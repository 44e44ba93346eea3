//! What is declared beside a template, in `NAME.template.toml`.
//!
//! A file of its own and not the template's first lines: then a template is its destination's language
//! from the first line to the last, and existing templates are declared for without a change.
//!
//! I/O: none.

use serde::Deserialize;

use super::accounts::Account;
use crate::compat::parse_permissions;
use crate::format::Format;
use crate::name::Name;

/// A placeholder for the path of the file to check.
pub(super) const FILE: &str = "{}";

/// How a template's destination is written, checked, and made known.
///
/// ```toml
/// format = "haproxy"                        # else by the destination's extension
/// mode = "0640"                             # else 0600
/// owner = "haproxy"                         # name or number; else whoever renders
/// group = "haproxy"
/// only_with = "orderflow.listen"            # rendered only if this key is there and not null
/// check = ["/usr/sbin/haproxy", "-c", "-f", "{}"]   # must succeed; {} is the rendered file
/// reload = ["haproxy.service"]              # reloaded when the file has changed
/// restart = []                              # restarted when the file has changed
/// ```
#[derive(Debug, Clone, Default)]
pub struct Declaration {
    /// The destination's language. `None` for a Mustache template of which it is not known.
    pub format: Option<Format>,
    /// The destination's permissions, 0600 if not declared.
    pub permissions: Option<u32>,
    /// Its owner.
    pub owner: Option<Account>,
    /// Its group.
    pub group: Option<Account>,
    /// The key without which nothing is rendered, and what was is removed.
    pub(super) only_with: Option<Name>,
    /// Program and arguments.
    pub check: Vec<String>,
    /// Units.
    pub reload: Vec<String>,
    /// Units.
    pub restart: Vec<String>,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: Option<Format>,
    mode: Option<String>,
    owner: Option<Account>,
    group: Option<Account>,
    only_with: Option<String>,
    #[serde(default)]
    check: Vec<String>,
    #[serde(default)]
    reload: Vec<String>,
    #[serde(default)]
    restart: Vec<String>,
}

impl Declaration {
    /// Parses a declaration; it is measured, so errors may show it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let permissions = match &written.mode {
            None => None,
            Some(digits) => {
                let permissions = parse_permissions(digits).and_then(check_permissions);
                let wrong =
                    || format!("mode: expected octal digits up to \"0775\", got {digits:?}");
                Some(permissions.ok_or_else(wrong)?)
            }
        };
        let only_with = match &written.only_with {
            None => None,
            Some(key) => {
                let name = Name::parse(key).filter(Name::is_of_root);
                Some(name.ok_or_else(|| format!("only_with: expected a key, got {key:?}"))?)
            }
        };
        let checks_file = written
            .check
            .iter()
            .skip(1)
            .any(|argument| argument.contains(FILE));
        if !written.check.is_empty() && !checks_file {
            return Err(format!(
                "check: expected a program and an argument with {FILE:?}"
            ));
        }
        Ok(Self {
            format: written.format,
            permissions,
            owner: written.owner,
            group: written.group,
            only_with,
            check: written.check,
            reload: written.reload,
            restart: written.restart,
        })
    }

    /// The destination's permissions.
    pub(super) fn mode(&self) -> u32 {
        self.permissions.unwrap_or(0o600)
    }
}

/// Only what a configuration file may have: no special bits, not writable by everyone.
pub(super) fn check_permissions(permissions: u32) -> Option<u32> {
    (permissions & !0o775 == 0).then_some(permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_is_private() {
        let declaration = Declaration::parse("").unwrap();
        assert_eq!(declaration.mode(), 0o600);
        assert!(declaration.owner.is_none());
    }

    #[test]
    fn a_declaration_is_read_strictly() {
        for (text, reason) in [
            ("formt = \"toml\"", "unknown field `formt`"),
            ("format = \"ini\"", "unknown variant `ini`"),
            ("mode = \"0666\"", "mode: expected octal digits"),
            ("mode = \"4755\"", "mode: expected octal digits"),
            ("mode = \"64\"", "mode: expected octal digits"),
            ("mode = 640", "invalid type"),
            ("only_with = \".a\"", "only_with: expected a key"),
            ("check = [\"true\"]", "check: expected a program"),
            ("check = [\"{}\"]", "check: expected a program"),
            ("owner = -1", "expected an account"),
        ] {
            let error = Declaration::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = Declaration::parse("mode = \"0640\"\nformt = 1\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }
}
