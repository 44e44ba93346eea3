//! Looks for the configuration's secrets wherever the host, or anybody outside, can see.
//!
//! On a host that can read the guest's memory, as here and as none of TDX can, they are there: that they
//! are found in it proves that they would be found elsewhere. What only a process inside could see
//! (arguments, environments, the journal) is looked at where the agent runs without a machine,
//! `agent/tests/boot`.
//!
//! I/O: reads the scene's files; asks the node; QEMU writes the guest's memory to a file, piece by piece.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::memory::pieces_of;

use crate::checks::Checks;
use crate::scripted::world::World;

/// What is asked for on the attested port.
const PATHS: [&str; 2] = ["/cert", "/healthz"];
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Looks everywhere.
pub(super) fn look(world: &World<'_>, checks: &mut Checks) -> Result<()> {
    let needles = needles(world.sample.mark.as_bytes());
    checks.note("secrets-in-memory", control(world, &needles));
    checks.note("no-secret-is-served", served(world, &needles));
    checks.note("no-secret-in-files", files(world, &needles));
    Ok(())
}

/// What all secrets begin with: as it is, in hexadecimal, and in base64, wherever in a text it begins.
fn needles(mark: &[u8]) -> Vec<Vec<u8>> {
    let hexadecimal: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut needles = vec![mark.to_vec(), hexadecimal.into_bytes()];
    for skipped in 0..3 {
        let rest = mark.get(skipped..).unwrap_or_default();
        // Without its end, which depends on what follows.
        let whole = rest.get(..rest.len() - rest.len() % 3).unwrap_or_default();
        needles.push(BASE64_STANDARD.encode(whole).into_bytes());
    }
    needles
}

/// The node has them: what is looked for is what there is.
fn control(world: &World<'_>, needles: &[Vec<u8>]) -> Result<Option<String>> {
    let machine = &world.node()?.host.machine;
    let mut found = 0;
    for piece in pieces_of(machine) {
        found += count(&piece?[..], needles)?;
    }
    ensure!(
        found > 0,
        "not even the guest's memory has one: the search proves nothing"
    );
    Ok(Some(format!(
        "{found} copies in the guest's memory, so the search works"
    )))
}

fn served(world: &World<'_>, needles: &[Vec<u8>]) -> Result<Option<String>> {
    let node = world.node()?;
    for path in PATHS {
        let answer = node.fetch(path)?;
        ensure!(
            count(answer.as_bytes(), needles)? == 0,
            "{path} has a secret"
        );
    }
    Ok(Some(PATHS.join(", ")))
}

/// Console, disk, TPM, firmware variables: all that the machine has written.
fn files(world: &World<'_>, needles: &[Vec<u8>]) -> Result<Option<String>> {
    let all = [below(world.directory())?, below(&world.state())?].concat();
    let mut bytes = 0;
    for path in &all {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        bytes += file.metadata()?.len();
        let found = count(BufReader::with_capacity(CHUNK, file), needles)?;
        ensure!(found == 0, "{} has a secret", path.display());
    }
    let has = |name: &str| all.iter().any(|path| path.ends_with(name));
    for name in ["console.log", "data.raw", "variables.fd"] {
        if !has(name) {
            bail!("{name} is not among the files");
        }
    }
    Ok(Some(format!(
        "{} files, {} MB",
        all.len(),
        bytes / 1_000_000
    )))
}

/// Files in a directory and below; sockets and what else there is are passed over.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context("list the scene's files")? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// How often any of the needles is there.
fn count(mut haystack: impl Read, needles: &[Vec<u8>]) -> Result<usize> {
    let longest = needles.iter().map(Vec::len).max().unwrap_or_default();
    let keep = longest.saturating_sub(1);
    let mut buffer = Vec::new();
    let mut found = 0;
    loop {
        let old = buffer.len();
        let read = haystack
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut buffer);
        if read.context("read")? == 0 {
            return Ok(found);
        }
        for needle in needles {
            // What ends in the old part was found the last time.
            let begin = old.saturating_sub(needle.len().saturating_sub(1));
            let part = buffer.get(begin..).unwrap_or_default();
            found += occurrences(part, needle);
        }
        let begin = buffer.len().saturating_sub(keep);
        buffer.drain(..begin);
    }
}

fn occurrences(haystack: &[u8], needle: &[u8]) -> usize {
    let Some((first, rest)) = needle.split_first() else {
        return 0;
    };
    let mut found = 0;
    let mut left = haystack;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = left.get(at + 1..).unwrap_or_default();
        found += usize::from(left.starts_with(rest));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_in_every_form_and_across_pieces() {
        let mark = "not-a-secret-00-01";
        let needles = needles(mark.as_bytes());
        let encoded = [0, 1, 2].map(|before| {
            let text = format!("{}{mark}...", "x".repeat(before));
            BASE64_STANDARD.encode(text)
        });
        for (text, expected) in [
            ("nothing", 0),
            ("xnot-a-secret-00-01x", 1),
            ("not-a-secret-00-02", 0),
            ("6e6f742d612d7365637265742d30302d3031", 1),
            (encoded[0].as_str(), 1),
            (encoded[1].as_str(), 1),
            (encoded[2].as_str(), 1),
        ] {
            assert_eq!(
                count(text.as_bytes(), &needles).unwrap(),
                expected,
                "{text}"
            );
        }
        for before in [CHUNK - 25, CHUNK - 18, CHUNK - 5, CHUNK] {
            let mut long = vec![b'n'; before];
            long.extend(mark.as_bytes());
            long.extend([b'.'; 40]);
            assert_eq!(count(&long[..], &needles).unwrap(), 1, "{before}");
        }
    }
}
