//! Compares the partitions of two disks: entries of the table, and contents block by block.
//!
//! I/O: reads the images' partitions.

use std::io::{Read, Seek};

use anyhow::Context;
use measurements::Image;
use measurements::image::Partition;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::text::one_line;
use super::{Kind, Pair};

/// What contents are compared in: dm-verity's and most file systems' block.
const BLOCK_SIZE: usize = 4096;

/// Kinds of partitions that images have: UAPI.2 "Discoverable Partitions Specification", for x86-64.
const TYPES: [(&str, &str); 9] = [
    (
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "EFI system partition",
    ),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root"),
    ("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "root verity"),
    (
        "41092b05-9fc8-4523-994f-2def0408b176",
        "root verity signature",
    ),
    ("8484680c-9521-48c6-9c11-b0720656f69e", "usr"),
    ("77ff5f63-e7b6-4633-acf4-1565b864c0e6", "usr verity"),
    (
        "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
        "usr verity signature",
    ),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "swap"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux data"),
];

/// A partition that differs.
#[derive(Debug, Serialize)]
pub(super) struct PartitionDifference {
    /// What it is called: its kind, and its label.
    pub(super) name: String,
    pub(super) change: Kind,
    /// What the partition table says differently.
    pub(super) entry: Vec<String>,
    /// How the contents differ, if they do.
    pub(super) contents: Option<ContentsDifference>,
    /// Which register leads to the contents, and how; `None` if none does.
    pub(super) covered_by: Option<String>,
    #[serde(skip)]
    pub(super) partitions: Pair<Option<Partition>>,
}

/// How two partitions' bytes differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ContentsDifference {
    pub(super) sha256: Pair<String>,
    pub(super) size: Pair<u64>,
    /// Blocks of 4096 bytes, if the sizes are equal.
    pub(super) blocks: Option<Blocks>,
}

/// Blocks that differ.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Blocks {
    pub(super) differing: u64,
    pub(super) total: u64,
    /// Where in the partition the first of them begins.
    pub(super) first_offset: u64,
}

impl PartitionDifference {
    /// One line for each respect.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.entry.clone();
        lines.extend(self.contents.as_ref().map(ContentsDifference::line));
        lines
    }
}

impl ContentsDifference {
    fn line(&self) -> String {
        match &self.blocks {
            Some(blocks) => format!(
                "contents differ in {} of {} blocks of {BLOCK_SIZE} bytes, the first at byte {}",
                blocks.differing, blocks.total, blocks.first_offset
            ),
            None => format!("contents differ: {} → {} bytes", self.size.a, self.size.b),
        }
    }
}

/// Compares all partitions. Those of one type belong together in the order of their numbers.
pub(super) fn compare<A: Read + Seek, B: Read + Seek>(
    a: &mut Image<A>,
    b: &mut Image<B>,
) -> anyhow::Result<Vec<PartitionDifference>> {
    let mut differences = Vec::new();
    for pair in pairs(a.partitions(), b.partitions()) {
        let difference = match (&pair.a, &pair.b) {
            (Some(of_a), Some(of_b)) => {
                let entry = entry_differences(of_a, of_b);
                let contents = contents(a.partition_reader(of_a), b.partition_reader(of_b))
                    .with_context(|| format!("compare partition {}", of_a.number))?;
                let is_equal = entry.is_empty() && contents.is_none();
                (!is_equal).then_some((name(of_a), Kind::Changed, entry, contents))
            }
            (Some(one), None) => Some((name(one), Kind::Removed, vec![size_of(one)], None)),
            (None, Some(one)) => Some((name(one), Kind::Added, vec![size_of(one)], None)),
            (None, None) => None,
        };
        differences.extend(
            difference.map(|(name, change, entry, contents)| PartitionDifference {
                name,
                change,
                entry,
                contents,
                covered_by: None,
                partitions: pair,
            }),
        );
    }
    Ok(differences)
}

fn pairs(a: &[Partition], b: &[Partition]) -> Vec<Pair<Option<Partition>>> {
    let mut left: Vec<_> = b.iter().collect();
    let mut pairs = Vec::new();
    for of_a in a {
        let twin = left.iter().position(|of_b| of_b.type_id == of_a.type_id);
        let of_b = twin.map(|position| left.remove(position));
        pairs.push(Pair {
            a: Some(of_a.clone()),
            b: of_b.cloned(),
        });
    }
    pairs.extend(left.into_iter().map(|of_b| Pair {
        a: None,
        b: Some(of_b.clone()),
    }));
    pairs
}

/// What kind of partition it is.
pub(super) fn kind(partition: &Partition) -> Option<&'static str> {
    let id = partition.type_id.to_string();
    let known = TYPES.iter().find(|(known, _)| *known == id);
    known.map(|(_, kind)| *kind)
}

fn name(partition: &Partition) -> String {
    let number = partition.number;
    let kind = kind(partition).map_or_else(|| partition.type_id.to_string(), str::to_owned);
    match one_line(&partition.name).as_str() {
        "" => format!("{number} ({kind})"),
        label => format!("{number} ({kind}, \"{label}\")"),
    }
}

fn size_of(partition: &Partition) -> String {
    format!("{} bytes", partition.size)
}

fn entry_differences(a: &Partition, b: &Partition) -> Vec<String> {
    let respects = [
        ("number", a.number.to_string(), b.number.to_string()),
        ("GUID", a.unique_id.to_string(), b.unique_id.to_string()),
        ("label", one_line(&a.name), one_line(&b.name)),
        ("first byte", a.start.to_string(), b.start.to_string()),
        ("size", a.size.to_string(), b.size.to_string()),
    ];
    respects
        .into_iter()
        .filter(|(_, a, b)| a != b)
        .map(|(what, a, b)| format!("{what} {a} → {b}"))
        .collect()
}

/// Reads both to their end, side by side.
fn contents(mut a: impl Read, mut b: impl Read) -> std::io::Result<Option<ContentsDifference>> {
    let mut sides = [Side::default(), Side::default()];
    let mut blocks = Blocks::default();
    loop {
        let [of_a, of_b] = &mut sides;
        of_a.fill(&mut a)?;
        of_b.fill(&mut b)?;
        if of_a.chunk.is_empty() && of_b.chunk.is_empty() {
            break;
        }
        blocks.count(&of_a.chunk, &of_b.chunk);
    }
    let [a, b] = sides;
    if blocks.differing == 0 {
        return Ok(None);
    }
    let size = Pair {
        a: a.size,
        b: b.size,
    };
    Ok(Some(ContentsDifference {
        blocks: (size.a == size.b).then_some(blocks),
        size,
        sha256: Pair {
            a: a.finish(),
            b: b.finish(),
        },
    }))
}

impl Blocks {
    /// Counts the blocks of the next chunk of each side.
    fn count(&mut self, a: &[u8], b: &[u8]) {
        let (mut a, mut b) = (a.chunks(BLOCK_SIZE), b.chunks(BLOCK_SIZE));
        loop {
            let (of_a, of_b) = (a.next(), b.next());
            if of_a.is_none() && of_b.is_none() {
                return;
            }
            if of_a != of_b {
                if self.differing == 0 {
                    self.first_offset = self.total * BLOCK_SIZE as u64;
                }
                self.differing += 1;
            }
            self.total += 1;
        }
    }
}

/// One of two streams that are compared.
#[derive(Default)]
struct Side {
    chunk: Vec<u8>,
    hash: Sha256,
    size: u64,
}

impl Side {
    const CHUNK_SIZE: u64 = 64 * BLOCK_SIZE as u64;

    /// Reads the next chunk; an empty one at the end.
    fn fill(&mut self, from: &mut impl Read) -> std::io::Result<()> {
        self.chunk.clear();
        from.take(Self::CHUNK_SIZE).read_to_end(&mut self.chunk)?;
        self.hash.update(&self.chunk);
        self.size += self.chunk.len() as u64;
        Ok(())
    }

    fn finish(self) -> String {
        let digest: [u8; 32] = self.hash.finalize().into();
        measurements::Digest(digest).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &[u8], b: &[u8]) -> Option<ContentsDifference> {
        contents(a, b).unwrap()
    }

    #[test]
    fn first_block_and_number_of_blocks_are_counted_across_chunks() {
        let size = 3 * 64 * BLOCK_SIZE + 100;
        let a = vec![7; size];
        assert_eq!(difference(&a, &a), None);
        let mut b = a.clone();
        for at in [
            70 * BLOCK_SIZE + 5,
            70 * BLOCK_SIZE + 9,
            129 * BLOCK_SIZE,
            size - 1,
        ] {
            b[at] = 8;
        }
        let difference = difference(&a, &b).unwrap();
        assert_eq!(
            difference.blocks,
            Some(Blocks {
                differing: 3,
                total: 193,
                first_offset: 70 * BLOCK_SIZE as u64
            })
        );
        assert_eq!(
            difference.sha256.b,
            measurements::Sha256Digest::of(&b).to_string()
        );
        assert_eq!(
            difference.line(),
            "contents differ in 3 of 193 blocks of 4096 bytes, the first at byte 286720"
        );
    }

    #[test]
    fn of_other_sizes_the_sizes_are_said() {
        let difference = difference(&[1; 5000], &[1; 9000]).unwrap();
        assert_eq!(difference.line(), "contents differ: 5000 → 9000 bytes");
        assert_eq!(difference.blocks, None);
    }
}
