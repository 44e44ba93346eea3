//! All faults, what the node says of each, and what becomes of it: the scenes run from this table, and
//! `docs/operator.md` has it.
//!
//! I/O: none.

mod disk;
mod host;
mod hub;

use super::fault::Fault;

/// One fault.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name, for reports.
    pub(super) name: &'static str,
    /// What is wrong, for operators.
    pub(super) what: &'static str,
    /// What is made wrong.
    pub(super) fault: Fault,
    /// What the console says while it lasts, all in one line.
    pub(super) says: &'static [&'static str],
    /// Where it is tried.
    pub(super) group: Group,
    /// Whether also a node meets it that has no configuration yet.
    pub(super) is_first: bool,
}

/// Faults that are met alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What the hub answers.
    Answers,
    /// The way to the hub, and who is there.
    Ways,
    /// A real hub, and what convinces it.
    Evidence,
    /// What the hub answers to the registration.
    Registration,
    /// Azure's wireserver.
    Wireserver,
    /// The data disk, of a node that does not have it yet.
    Disk,
    /// The machine stands still.
    Machine,
    /// What the machine is switched on with.
    PowerOn,
}

impl Group {
    /// All groups, in the order in which the document has them.
    pub(super) const ALL: [Self; 8] = [
        Self::Answers,
        Self::Ways,
        Self::Evidence,
        Self::Registration,
        Self::Wireserver,
        Self::Disk,
        Self::Machine,
        Self::PowerOn,
    ];

    /// What follows, for operators: meanwhile, and when it is mended.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Answers | Self::Ways | Self::Evidence => {
                "a new node waits, one that is ready keeps its last configuration; goes on by itself"
            }
            Self::Registration => "not ready before; goes on by itself",
            Self::Wireserver => "ready all the same; reported as soon as it can be, for 20 minutes",
            Self::Disk => {
                "not ready before, and nothing on the disk is changed; goes on by itself with the right one and the right key"
            }
            Self::Machine => "goes on where it was",
            Self::PowerOn => "never ready; restart the machine when it is mended",
        }
    }

    /// Its rows.
    pub(super) fn rows(self) -> impl Iterator<Item = &'static Row> {
        rows().filter(move |row| row.group == self)
    }
}

const fn row(
    group: Group,
    name: &'static str,
    what: &'static str,
    fault: Fault,
    says: &'static [&'static str],
) -> Row {
    Row {
        name,
        what,
        fault,
        says,
        group,
        is_first: false,
    }
}

/// The same, and a new node meets it, too.
const fn first(row: Row) -> Row {
    Row {
        is_first: true,
        ..row
    }
}

/// All of them.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    hub::ROWS.iter().chain(disk::ROWS).chain(host::ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_words_are_there() {
        for row in rows() {
            let same = rows().filter(|other| other.name == row.name);
            assert_eq!(same.count(), 1, "{}", row.name);
            assert!(
                !row.says.is_empty() || row.group == Group::Machine,
                "{}",
                row.name
            );
            assert!(Group::ALL.contains(&row.group));
            // The document's table has bars of its own.
            assert!(!row.what.contains('|'), "{}", row.name);
        }
    }

    #[test]
    fn a_new_node_meets_faults_of_its_hub_only() {
        for row in rows().filter(|row| row.is_first) {
            let is_hubs = matches!(row.group, Group::Answers | Group::Ways);
            assert!(is_hubs, "{}", row.name);
        }
    }
}
