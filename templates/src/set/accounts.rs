//! Accounts by name or number, looked up in the root's own `etc/passwd` and `etc/group`.
//!
//! Left out: accounts of other sources than those files. The image's are all there.
//!
//! I/O: none; the caller reads.

use serde::Deserialize;

/// A user or group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected an account, by name or number")]
pub enum Account {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl Account {
    /// Its number, in a table of which lines are `NAME:PASSWORD:NUMBER:…`.
    pub(super) fn find(&self, table: &str) -> Option<u32> {
        let name = match self {
            Self::Id(id) => return Some(*id),
            Self::Name(name) => name,
        };
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            fields.nth(1)?.parse().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nha:x:7:7::/:\nhaproxy:x:998:997::/:\n";
        let find = |name: &str| Account::Name(name.into()).find(table);
        assert_eq!(find("haproxy"), Some(998));
        assert_eq!(find("root"), Some(0));
        assert_eq!(find("hap"), None);
        assert_eq!(find(""), None);
        assert_eq!(Account::Id(5).find(""), Some(5));
    }
}
