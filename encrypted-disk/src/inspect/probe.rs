//! What blkid and wipefs know about a disk.
//!
//! blkid says what a disk is as a whole, and is silent where it is of two minds; wipefs lists every magic. Both
//! ask the disk, not udev's memory of it.
//!
//! I/O: runs blkid and wipefs.

use std::path::Path;

use crate::run::{Call, Run, RunError, failed, succeed};

/// A magic of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What it is the magic of: `ext4`, `gpt`, `crypto_LUKS`.
    pub kind: String,
    /// Where, if that is known.
    pub offset: Option<u64>,
}

pub(super) fn probe(device: &Path, run: &mut dyn Run) -> Result<Vec<Signature>, RunError> {
    let blkid = Call::new("blkid", ["--probe", "--output", "export"]).and(device);
    let mut output = run.run(&blkid)?;
    let mut signatures = match output.code {
        0 => parse_blkid(&output.stdout),
        // Nothing.
        2 => Vec::new(),
        // Several things that exclude one another.
        8 => vec![Signature {
            kind: "several things at once".to_owned(),
            offset: None,
        }],
        _ => return Err(failed(&blkid, output)),
    };
    let wipefs = Call::new("wipefs", ["--no-act", "--parsable"]).and(device);
    output = succeed(run, &wipefs)?;
    signatures.extend(parse_wipefs(&output.stdout));
    Ok(signatures)
}

/// `TYPE=…` for file systems and their kin, `PTTYPE=…` for partition tables; anything else that is
/// said without one of them is something, too.
fn parse_blkid(text: &str) -> Vec<Signature> {
    let said = text.lines().filter(|line| !line.starts_with("DEVNAME="));
    let value = |name| said.clone().find_map(|line| line.strip_prefix(name));
    let kind = value("TYPE=").or_else(|| value("PTTYPE="));
    let kind = kind.or_else(|| said.clone().next());
    let signature = |kind: &str| Signature {
        kind: printable(kind),
        offset: None,
    };
    kind.map(signature).into_iter().collect()
}

/// `OFFSET,UUID,LABEL,TYPE`; comments begin with `#`.
fn parse_wipefs(text: &str) -> Vec<Signature> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let offset = line
            .split(',')
            .next()
            .and_then(|text| text.strip_prefix("0x"));
        Signature {
            kind: printable(line.rsplit(',').next().unwrap_or_default()),
            offset: offset.and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        }
    };
    lines.map(parse).collect()
}

fn printable(text: &str) -> String {
    text.chars()
        .take(40)
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(kind: &str, offset: Option<u64>) -> Signature {
        let kind = kind.to_owned();
        Signature { kind, offset }
    }

    #[test]
    fn blkid_is_read() {
        let luks = "DEVNAME=big\nVERSION=2\nUUID=0553794b\nTYPE=crypto_LUKS\nUSAGE=crypto\n";
        assert_eq!(parse_blkid(luks), [signature("crypto_LUKS", None)]);
        let table = "DEVNAME=/dev/sdb\nPTUUID=1\nPTTYPE=gpt\n";
        assert_eq!(parse_blkid(table), [signature("gpt", None)]);
        assert_eq!(
            parse_blkid("DEVNAME=d\nFOO=1\n"),
            [signature("FOO=1", None)]
        );
        assert_eq!(parse_blkid(""), []);
    }

    #[test]
    fn wipefs_is_read() {
        let text =
            "# offset,uuid,label,type\n0x438,0553-1,my,label,ext4\n0x10040,,,btrfs\nrubbish\n";
        let expected = [
            signature("ext4", Some(0x438)),
            signature("btrfs", Some(0x10040)),
            signature("rubbish", None),
        ];
        assert_eq!(parse_wipefs(text), expected);
        assert_eq!(parse_wipefs(""), []);
    }
}
