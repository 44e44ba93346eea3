//! What is mounted where, as `/proc/self/mountinfo` says.
//!
//! I/O: none.

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `MAJOR:MINOR` of the device.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) point: String,
    /// Whether nothing can be written to it: so mounted, or since an error.
    pub(crate) is_read_only: bool,
}

/// What ext4 says of a file system that writes nothing any more; the last two since Linux 6.15, which then leaves
/// the mount's own flag as it was.
const READ_ONLY: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// Reads the table; what is not a line of it is skipped, as a mount is not to be hidden by another one.
pub(super) fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(parse_line).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`
fn parse_line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(2);
    let device = fields.next()?.to_owned();
    let point = unescape(fields.nth(1)?);
    let mounted = fields.next()?;
    // After a number of fields that differs.
    let of_file_system = fields.skip_while(|field| *field != "-").nth(3);
    let options = [mounted, of_file_system.unwrap_or_default()];
    let is_bad = |option: &str| READ_ONLY.contains(&option);
    let is_read_only = options.iter().any(|it| it.split(',').any(is_bad));
    Some(Mount {
        device,
        point,
        is_read_only,
    })
}

/// Blanks and backslashes are `\` and three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", r"\"),
    ];
    let unescape = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    escapes.iter().fold(text.to_owned(), unescape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let table = "22 1 253:0 / / ro,relatime shared:1 - erofs /dev/mapper/root ro\n\
                     rubbish\n\
                     90 22 253:1 / /var/lib/a\\040b rw,nosuid - ext4 /dev/mapper/data rw\n";
        let mount = |device: &str, point: &str, is_read_only| Mount {
            device: device.to_owned(),
            point: point.to_owned(),
            is_read_only,
        };
        let expected = [
            mount("253:0", "/", true),
            mount("253:1", "/var/lib/a b", false),
        ];
        assert_eq!(parse(table), expected);
    }
}
