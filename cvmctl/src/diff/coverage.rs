//! What differs without a register being behind it.
//!
//! I/O: none.

use measurements::image::Partition;

use super::partitions::{self, PartitionDifference};
use super::sections::SectionDifference;
use super::{Facts, Pair};

/// Returns what no register leads to, and notes for each partition which do.
///
/// `is_uki_covered`: whether PCR 4 differs, which leads to all of what is started but signatures.
pub(super) fn not_covered(
    images: &Pair<Facts>,
    sections: &[SectionDifference],
    partitions: &mut [PartitionDifference],
    is_uki_covered: bool,
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
        if !partition.entry.is_empty() {
            list.push(format!(
                "{name}, its entry in the partition table, which firmware measures into PCR 5 (RTMR \
                 1 of bare TDX), not compared here: {}",
                partition.entry.join(", ")
            ));
        }
        if partition.contents.is_none() {
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
    if list.is_empty() && is_uki_equal && !is_uki_covered && partitions.is_empty() {
        list.push(
            "what is outside of all partitions: disk GUID, backup partition table, unused space, \
             or a VHD's footer"
                .to_owned(),
        );
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
    let (Some(a), Some(b)) = (&difference.partitions.a, &difference.partitions.b) else {
        return Err("only one image has it".to_owned());
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
    let (partition, is_tree) = match kind {
        "root" => ("root", false),
        "root verity" => ("root", true),
        "usr" => ("usr", false),
        "usr verity" => ("usr", true),
        _ => return Err("no hash of it is measured".to_owned()),
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

/// Says whether a hash leads to this partition: the first half of it is the data's GUID, the second
/// that of the hash tree (UAPI.2 "Discoverable Partitions Specification").
fn is_named(partition: &Partition, hash: &str, is_tree: bool) -> bool {
    const HALF: usize = 32;
    let guid = partition.unique_id.to_string().replace('-', "");
    let half = hash.split_at_checked(HALF);
    half.is_some_and(|(data, tree)| if is_tree { tree == guid } else { data == guid })
}
