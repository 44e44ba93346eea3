//! What differs without a register being behind it.
//!
//! I/O: none.

use measurements::image::Partition;

use super::partitions::{self, PartitionDifference};
use super::sections::SectionDifference;
use super::{Facts, Kind, Pair};

/// What registers lead to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Covered {
    /// Whether PCR 4 differs, which leads to all of what is started but signatures.
    pub(super) is_uki: bool,
    pub(super) table: Table,
}

/// What RTMR1 says about the partition tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Equal,
    Different,
    /// It is not predicted of both images.
    NotCompared,
}

/// Returns what no register leads to, and notes for each partition which do.
pub(super) fn not_covered(
    images: &Pair<Facts>,
    sections: &[SectionDifference],
    partitions: &mut [PartitionDifference],
    Covered {
        is_uki: is_uki_covered,
        table,
    }: Covered,
) -> Vec<String> {
    let mut list = Vec::new();
    if images.a.format != images.b.format {
        let (a, b) = (&images.a.format, &images.b.format);
        list.push(format!("what the UKI is wrapped in: {a} → {b}"));
    }
    let is_uki_equal = images.a.uki_sha256 == images.b.uki_sha256;
    if !is_uki_equal && sections.is_empty() && !is_uki_covered {
        list.push("the UKI's signature or checksum, which Authenticode leaves out".to_owned());
    }
    let changed: Vec<_> = partitions.iter().filter_map(kind_of_changed).collect();
    for partition in &mut *partitions {
        let name = format!("partition {}", partition.name);
        if !partition.entry.is_empty() && table != Table::Different {
            list.push(format!(
                "{name}, its entry in the partition table, which firmware measures into PCR 5 or \
                 RTMR1, not compared here: {}",
                partition.entry.join(", ")
            ));
        }
        if partition.contents.is_none() && partition.change == Kind::Changed {
            continue;
        }
        match contents(images, partition, is_uki_covered) {
            Ok(mut covered_by) => {
                let tree = kind_of_changed(partition).and_then(|k| k.strip_suffix(" verity"));
                if tree.is_some_and(|data| !changed.contains(&data)) {
                    covered_by.push_str(
                        "; the data is the same: the hash tree has another salt, UUID or form",
                    );
                }
                partition.covered_by = Some(covered_by);
            }
            Err(reason) => list.push(format!("{name}, its contents: {reason}")),
        }
    }
    let is_all_equal = is_uki_equal && !is_uki_covered && partitions.is_empty();
    if list.is_empty() && is_all_equal && table != Table::Different {
        let disk_guid = if table == Table::Equal {
            ""
        } else {
            "disk GUID, "
        };
        list.push(format!(
            "what is outside of all partitions: {disk_guid}backup partition table, unused space, or \
             a VHD's footer"
        ));
    }
    list
}

/// The kind of a partition whose contents differ.
fn kind_of_changed(difference: &PartitionDifference) -> Option<&'static str> {
    difference.contents.as_ref()?;
    partitions::kind(difference.partitions.a.as_ref()?)
}

/// Says what leads to a partition's contents, or why nothing does.
fn contents(
    images: &Pair<Facts>,
    difference: &PartitionDifference,
    is_uki_covered: bool,
) -> Result<String, String> {
    let (a, b) = match (&difference.partitions.a, &difference.partitions.b) {
        (Some(a), Some(b)) => (a, b),
        (Some(a), None) => return contents_of_one(&images.a, a),
        (None, Some(b)) => return contents_of_one(&images.b, b),
        (None, None) => return Err("no image has it".to_owned()),
    };
    let kind = partitions::kind(a).unwrap_or_default();
    if kind == "EFI system partition" {
        return if is_uki_covered {
            Ok("PCR 4, as far as it is what is started".to_owned())
        } else {
            Err(
                "what is started from it measures the same; files beside it, or the file system's \
                 structure"
                    .to_owned(),
            )
        };
    }
    let Some((partition, is_tree)) = verified(kind) else {
        return Err("no hash of it is measured".to_owned());
    };
    let option = format!("{partition}hash=");
    let hashes = (
        images.a.verity_hash(partition),
        images.b.verity_hash(partition),
    );
    let (Some(of_a), Some(of_b)) = hashes else {
        return Err(format!("no {option} on the command line leads to it"));
    };
    if !is_named(a, &of_a.hash, is_tree) || !is_named(b, &of_b.hash, is_tree) {
        return Err(format!(
            "the {option} on the command line leads to a partition with another GUID"
        ));
    }
    if of_a == of_b {
        return Err(format!(
            "{option} is the same, so that at most one of the two is what was hashed; Linux refuses \
             to read the other's changed blocks"
        ));
    }
    Ok(format!("{option} on the command line (PCR 4, 9, 11)"))
}

/// Says what leads to a partition that the other image has not.
fn contents_of_one(image: &Facts, partition: &Partition) -> Result<String, String> {
    let verified = verified(partitions::kind(partition).unwrap_or_default());
    let is_led_to = |(name, is_tree): &(&str, bool)| {
        let hash = image.verity_hash(name);
        hash.is_some_and(|hash| is_named(partition, &hash.hash, *is_tree))
    };
    match verified.filter(is_led_to) {
        Some((name, _)) => Ok(format!("{name}hash= on the command line (PCR 4, 9, 11)")),
        None => Err("only one image has it".to_owned()),
    }
}

/// Which partition dm-verity checks with a partition of this kind, and whether that is the hash tree.
fn verified(kind: &str) -> Option<(&'static str, bool)> {
    match kind {
        "root" => Some(("root", false)),
        "root verity" => Some(("root", true)),
        "usr" => Some(("usr", false)),
        "usr verity" => Some(("usr", true)),
        _ => None,
    }
}

/// Says whether a hash leads to this partition: the first half of it is the data's GUID, the second
/// that of the hash tree (UAPI.2 "Discoverable Partitions Specification").
fn is_named(partition: &Partition, hash: &str, is_tree: bool) -> bool {
    const HALF: usize = 32;
    let guid = partition.unique_id.to_string().replace('-', "");
    let half = hash.split_at_checked(HALF);
    half.is_some_and(|(data, tree)| if is_tree { tree == guid } else { data == guid })
}
