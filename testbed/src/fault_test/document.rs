//! The table of faults as `docs/operator.md` has it.
//!
//! I/O: none.

use super::table::{Group, Row};

/// What stands before and after the table in the document.
#[cfg(test)]
const BEGIN: &str = "<!-- faults, as `testbed fault-test --table` prints them -->\n";
#[cfg(test)]
const END: &str = "<!-- end of faults -->\n";

/// The table.
pub(super) fn table() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text.push_str(&format!("\n{}: {}.\n\n", group.title(), group.outcome()));
        text.push_str("| what is wrong | the console says |\n|---|---|\n");
        for row in group.rows() {
            text.push_str(&format!("| {} | {} |\n", row.what, row.quoted()));
        }
    }
    text
}

impl Row {
    fn quoted(&self) -> String {
        match self.says {
            [] => "–".to_owned(),
            says => format!("`{}`", says.join(" … ")),
        }
    }
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::Answers => "What the hub answers",
            Self::Ways => "The way to the hub",
            Self::Evidence => "What convinces the hub",
            Self::Registration => "Registration",
            Self::Wireserver => "Azure's wireserver",
            Self::Disk => "The data disk",
            Self::Machine => "The machine",
            Self::PowerOn => "What the machine is switched on with",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_document_has_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operator.md");
        let document = fs::read_to_string(path).unwrap();
        let (_, rest) = document.split_once(BEGIN).expect("the table's beginning");
        let (written, _) = rest.split_once(END).expect("the table's end");
        assert!(
            written == table(),
            "docs/operator.md should have, between its marks:\n{}",
            table()
        );
    }
}
